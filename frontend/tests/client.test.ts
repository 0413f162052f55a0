import { beforeEach, describe, expect, test } from "vitest";
import { createNote, deleteNote, fetchGreeting, fetchNotes } from "../src/api/client";
import { errorResponse, FakeBackend, note } from "./fakeBackend";

const { signal } = new AbortController();
let backend: FakeBackend;

beforeEach(() => {
  backend = new FakeBackend();
  backend.install();
});

describe("responses as promised", () => {
  test("are returned", async () => {
    backend.notes = [note(1, "first")];

    expect(await fetchGreeting(signal)).toEqual({ message: "Hello, tests!" });
    expect(await createNote("second", signal)).toEqual(note(2, "second"));
    expect(await fetchNotes(signal)).toEqual([note(1, "first"), note(2, "second")]);
    expect(await deleteNote(1, signal)).toBeUndefined();
    expect(await fetchNotes(signal)).toEqual([note(2, "second")]);
  });

  test.each(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789+01:00"])(
    "may have the time %s",
    async (created_at) => {
      backend.answer("GET /api/notes", () => Response.json([{ ...note(1, "a"), created_at }]));

      expect(await fetchNotes(signal)).toEqual([{ id: 1, text: "a", created_at }]);
    },
  );
});

describe("unexpected responses are refused", () => {
  test.each([
    ["not an object", "hello", "greeting is not an object"],
    ["no message", {}, "greeting.message is not a string"],
  ])("greeting: %s", async (_case, body, complaint) => {
    backend.answer("GET /api/greeting", () => Response.json(body));

    await expect(fetchGreeting(signal)).rejects.toMatchObject({
      code: "invalid_response",
      message: expect.stringContaining(complaint),
    });
  });

  test.each([
    ["not an array", { notes: [] }, "notes is not an array"],
    ["an empty element", [null], "note is not an object"],
    ["a string as id", [{ ...note(1, "a"), id: "1" }], "note.id is not an integer"],
    ["no text", [{ ...note(1, "a"), text: undefined }], "note.text is not a string"],
    ["a date alone", [{ ...note(1, "a"), created_at: "2026-01-02" }], "note.created_at is not"],
    ["no such hour", [{ ...note(1, "a"), created_at: "2026-01-02T99:00:00Z" }], "note.created_at"],
  ])("notes: %s", async (_case, body, complaint) => {
    backend.answer("GET /api/notes", () => Response.json(body));

    await expect(fetchNotes(signal)).rejects.toMatchObject({
      code: "invalid_response",
      message: expect.stringContaining(complaint),
    });
  });

  test("not JSON", async () => {
    backend.answer("POST /api/notes", () => new Response("created", { status: 201 }));

    await expect(createNote("a", signal)).rejects.toMatchObject({ code: "invalid_response" });
  });
});

describe("errors", () => {
  test("of the backend keep their code and message", async () => {
    backend.answer("DELETE /api/notes/7", () => errorResponse(404, "not_found", "No note 7"));

    await expect(deleteNote(7, signal)).rejects.toMatchObject({
      name: "ApiError",
      code: "not_found",
      message: "No note 7",
    });
  });

  test("of something in between have the status", async () => {
    backend.answer("GET /api/notes", () => new Response("<h1>Bad gateway</h1>", { status: 502 }));

    await expect(fetchNotes(signal)).rejects.toMatchObject({
      code: "http_502",
      message: "The server answered with status 502.",
    });
  });

  test("of the network are reported as such", async () => {
    backend.answer("GET /api/notes", () => Promise.reject(new TypeError("connection refused")));

    await expect(fetchNotes(signal)).rejects.toMatchObject({ code: "network_error" });
  });

  test("are not made of cancelled requests", async () => {
    const controller = new AbortController();
    backend.answer("GET /api/notes", () => {
      controller.abort();
      return Promise.reject(controller.signal.reason);
    });

    await expect(fetchNotes(controller.signal)).rejects.toBe(controller.signal.reason);
  });
});
