import { cleanup, render, screen, within } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { App } from "../src/App";
import { TITLE } from "../src/title";
import { errorResponse, FakeBackend, note } from "./fakeBackend";

let backend: FakeBackend;

beforeEach(() => {
  backend = new FakeBackend();
  backend.install();
});

afterEach(cleanup);

async function shownNotes(): Promise<string[]> {
  const items = await screen.findAllByRole("listitem");
  return items.map((item) => within(item).getByRole("paragraph").textContent ?? "");
}

describe("the page", () => {
  test("has its title in the heading and in the document", async () => {
    render(<App />);

    expect(screen.getByRole("heading", { level: 1 }).textContent).toBe(TITLE);
    expect(document.title).toBe(TITLE);
    await screen.findByTestId("greeting");
  });

  test("shows the greeting", async () => {
    render(<App />);

    expect(screen.getByText("Loading the greeting…")).toBeTruthy();
    expect((await screen.findByTestId("greeting")).textContent).toBe("Hello, tests!");
  });

  test("shows why there is no greeting", async () => {
    backend.answer("GET /api/greeting", () => errorResponse(500, "internal", "No greeting today"));
    render(<App />);

    expect((await screen.findByRole("alert")).textContent).toBe("No greeting today");
    expect(screen.queryByTestId("greeting")).toBeNull();
  });

  test("cancels its requests when it goes away", () => {
    const { unmount } = render(<App />);
    expect(backend.signals.map((signal) => signal.aborted)).toEqual([false, false]);

    unmount();
    expect(backend.signals.map((signal) => signal.aborted)).toEqual([true, true]);
  });
});

describe("the notes", () => {
  test("are shown with the newest first", async () => {
    backend.notes = [note(1, "first"), note(2, "second")];
    render(<App />);

    expect(screen.getByText("Loading notes…")).toBeTruthy();
    expect(await shownNotes()).toEqual(["second", "first"]);
  });

  test("may be none", async () => {
    render(<App />);

    expect(await screen.findByText("No notes yet.")).toBeTruthy();
  });

  test("can be loaded in a second try", async () => {
    backend.answer("GET /api/notes", () => Promise.reject(new TypeError("connection refused")));
    render(<App />);
    expect((await screen.findByRole("alert")).textContent).toBe("The server cannot be reached.");

    backend.reset("GET /api/notes");
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));

    expect(await screen.findByText("No notes yet.")).toBeTruthy();
    expect(screen.queryByRole("alert")).toBeNull();
  });
});

describe("adding a note", () => {
  test("shows it and empties the input", async () => {
    backend.notes = [note(1, "first")];
    render(<App />);

    const input = await screen.findByLabelText<HTMLInputElement>("New note");
    await userEvent.type(input, "second");
    await userEvent.click(screen.getByRole("button", { name: "Add note" }));

    expect(await screen.findByText("second")).toBeTruthy();
    expect(await shownNotes()).toEqual(["second", "first"]);
    expect(input.value).toBe("");
    expect(backend.notes.map(({ text }) => text)).toEqual(["first", "second"]);
  });

  test("shows the server's error and keeps the text", async () => {
    backend.answer("POST /api/notes", () => errorResponse(422, "too_long", "The text is too long"));
    render(<App />);

    const input = await screen.findByLabelText<HTMLInputElement>("New note");
    await userEvent.type(input, "a long story{Enter}");

    expect((await screen.findByRole("alert")).textContent).toBe("The text is too long");
    expect(input.value).toBe("a long story");
    expect(screen.getByText("No notes yet.")).toBeTruthy();
  });
});

describe("deleting a note", () => {
  test("takes it off the list", async () => {
    backend.notes = [note(1, "first"), note(2, "second")];
    render(<App />);

    await userEvent.click(await screen.findByRole("button", { name: "Delete note: first" }));

    expect(await shownNotes()).toEqual(["second"]);
    expect(backend.notes).toEqual([note(2, "second")]);
  });

  test("shows the server's error and keeps the note", async () => {
    backend.notes = [note(1, "first")];
    backend.answer("DELETE /api/notes/1", () => errorResponse(404, "not_found", "No such note"));
    render(<App />);

    const button = await screen.findByRole<HTMLButtonElement>("button", { name: /^Delete note/ });
    await userEvent.click(button);

    expect((await screen.findByRole("alert")).textContent).toBe("No such note");
    expect(await shownNotes()).toEqual(["first"]);
    expect(button.disabled).toBe(false);
  });
});
