import { ApiError } from "./errors";
import { parseError, parseGreeting, parseNote, parseNotes } from "./parse";
import type { Greeting, Note } from "./types";

export async function fetchGreeting(signal: AbortSignal): Promise<Greeting> {
  const response = await send("/api/greeting", { signal });
  return parseGreeting(await readJson(response));
}

export async function fetchNotes(signal: AbortSignal): Promise<Note[]> {
  const response = await send("/api/notes", { signal });
  return parseNotes(await readJson(response));
}

export async function createNote(text: string, signal: AbortSignal): Promise<Note> {
  const response = await send("/api/notes", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }),
    signal,
  });
  return parseNote(await readJson(response));
}

export async function deleteNote(id: number, signal: AbortSignal): Promise<void> {
  await send(`/api/notes/${id}`, { method: "DELETE", signal });
}

/** Sends a request; returns only successful responses and throws an ApiError for the others. */
async function send(path: string, init: RequestInit & { signal: AbortSignal }): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (cause) {
    init.signal.throwIfAborted();
    throw new ApiError("network_error", "The server cannot be reached.", { cause });
  }
  if (!response.ok) {
    throw await toApiError(response);
  }
  return response;
}

/** Not only the backend answers: a proxy in between reports its errors in other forms. */
async function toApiError(response: Response): Promise<ApiError> {
  try {
    const { code, message } = parseError(await response.json());
    return new ApiError(code, message);
  } catch (cause) {
    const message = `The server answered with status ${response.status}.`;
    return new ApiError(`http_${response.status}`, message, { cause });
  }
}

async function readJson(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (cause) {
    throw new ApiError("invalid_response", "The server's response is not valid JSON.", { cause });
  }
}
