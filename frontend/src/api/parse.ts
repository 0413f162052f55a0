// What arrives over the network is `unknown` until one of these has looked at it.

import { ApiError } from "./errors";
import type { ErrorDetail, Greeting, Note } from "./types";

export function parseGreeting(value: unknown): Greeting {
  const { message } = asRecord(value, "greeting");
  return { message: asString(message, "greeting.message") };
}

export function parseNote(value: unknown): Note {
  const { id, text, created_at } = asRecord(value, "note");
  return {
    id: asInteger(id, "note.id"),
    text: asString(text, "note.text"),
    created_at: asTimestamp(created_at, "note.created_at"),
  };
}

export function parseNotes(value: unknown): Note[] {
  if (!Array.isArray(value)) {
    throw invalid("notes", "an array");
  }
  return value.map(parseNote);
}

/** `{"error": {"code", "message"}}`, the form of every error the backend reports. */
export function parseError(value: unknown): ErrorDetail {
  const { code, message } = asRecord(asRecord(value, "response")["error"], "error");
  return {
    code: asString(code, "error.code"),
    message: asString(message, "error.message"),
  };
}

function asRecord(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(name, "an object");
  }
  return value as Record<string, unknown>;
}

function asString(value: unknown, name: string): string {
  if (typeof value !== "string") {
    throw invalid(name, "a string");
  }
  return value;
}

function asInteger(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw invalid(name, "an integer");
  }
  return value;
}

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

function asTimestamp(value: unknown, name: string): string {
  if (typeof value !== "string" || !RFC_3339.test(value) || Number.isNaN(Date.parse(value))) {
    throw invalid(name, "an RFC 3339 date and time");
  }
  return value;
}

function invalid(name: string, expected: string): ApiError {
  return new ApiError(
    "invalid_response",
    `The server sent an unexpected response: ${name} is not ${expected}.`,
  );
}
