// Writes to the folder argv[2] what an install can depend on: package.json and its lockfile without the
// keys that are known not to matter to it. A key that is not known here stays: the slower path is the safe one.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const ignored = [
  "version", "description", "keywords", "homepage", "bugs", "license", "author", "contributors", "maintainers",
  "funding", "files", "main", "module", "browser", "types", "typings", "exports", "imports", "type", "sideEffects",
  "repository", "publishConfig", "browserslist", "eslintConfig", "prettier", "stylelint", "jest", "babel", "nyc",
  "lint-staged", "husky", "commitlint",
];
const lifecycle = [
  "preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare",
];
const read = (name) => JSON.parse(readFileSync(name, "utf8").replace(/^\uFEFF/, ""));
const write = (name, value) => writeFileSync(`${process.argv[2]}/${name}`, JSON.stringify(value, null, 2) + "\n");

const manifest = read("package.json");
for (const key of ignored) delete manifest[key];
manifest.name = "app";
manifest.version = "0.0.0";
manifest.scripts = Object.fromEntries(
  Object.entries(manifest.scripts ?? {}).filter(([name]) => lifecycle.includes(name)),
);

const lock = read("package-lock.json");
lock.name = "app";
lock.version = "0.0.0";
const root = lock.packages?.[""];
if (root) {
  Object.assign(root, { name: "app", version: "0.0.0" });
  delete root.license;
}

mkdirSync(process.argv[2], { recursive: true });
write("package.json", manifest);
write("package-lock.json", lock);
