import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Only for `npm run dev` outside a container; behind nginx, nginx proxies /api.
const backendUrl = process.env["BACKEND_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig(({ mode }) => {
  const production = mode === "production";

  return {
    plugins: [react()],
    server: {
      host: "127.0.0.1",
      port: 5173,
      strictPort: true,
      // Vite always accepts localhost and IP addresses as the Host; these are
      // the other names under which nginx may hand it the browser's requests.
      // server.hmr stays unset: the browser then opens the WebSocket at the
      // page's own host and port, which is nginx when nginx is in front.
      allowedHosts: ["frontend", "host.docker.internal"],
      proxy: { "/api": backendUrl },
    },
    build: {
      // Dockerfile.fast builds in mode "development".
      minify: production,
      sourcemap: !production,
      reportCompressedSize: false,
    },
    test: {
      environment: "happy-dom",
      include: ["tests/**/*.test.{ts,tsx}"],
      restoreMocks: true,
      unstubGlobals: true,
    },
  };
});
