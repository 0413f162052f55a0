import { vi } from "vitest";
import type { Note } from "../src/api/types";

/** Takes the place of `fetch` and answers as the backend does. */
export class FakeBackend {
  notes: Note[] = [];
  readonly signals: AbortSignal[] = [];
  private readonly prepared = new Map<string, () => Response | Promise<Response>>();

  install(): void {
    vi.stubGlobal("fetch", (path: string, init: RequestInit = {}) => this.handle(path, init));
  }

  /** Prepares the answer to every further such request, e.g. to "GET /api/notes". */
  answer(request: string, response: () => Response | Promise<Response>): void {
    this.prepared.set(request, response);
  }

  /** Takes a prepared answer back. */
  reset(request: string): void {
    this.prepared.delete(request);
  }

  private async handle(path: string, init: RequestInit): Promise<Response> {
    if (init.signal) this.signals.push(init.signal);

    const request = `${init.method ?? "GET"} ${path}`;
    const prepared = this.prepared.get(request);
    if (prepared) return prepared();

    if (request === "GET /api/greeting") return Response.json({ message: "Hello, tests!" });
    if (request === "GET /api/notes") return Response.json(this.notes);
    if (request === "POST /api/notes") return this.create(String(init.body));
    if (request.startsWith("DELETE /api/notes/")) return this.delete(Number(path.split("/").pop()));
    return errorResponse(404, "not_found", `No such resource: ${request}`);
  }

  private create(body: string): Response {
    const { text } = JSON.parse(body) as { text: string };
    const added = note(this.notes.length + 1, text);
    this.notes.push(added);
    return Response.json(added, { status: 201 });
  }

  private delete(id: number): Response {
    this.notes = this.notes.filter((kept) => kept.id !== id);
    return new Response(null, { status: 204 });
  }
}

export function note(id: number, text: string): Note {
  return { id, text, created_at: "2026-01-02T03:04:05Z" };
}

export function errorResponse(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status });
}
