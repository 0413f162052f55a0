import { useCallback, useEffect, useRef, useState } from "react";
import { createNote, deleteNote, fetchNotes } from "../api/client";
import { errorMessage } from "../api/errors";
import type { Note } from "../api/types";

export interface NotesStore {
  /** `null` until the notes have been loaded. */
  notes: Note[] | null;
  /** What went wrong in the latest request, if anything did. */
  error: string | null;
  /** Each resolves to whether it worked. */
  load: () => Promise<boolean>;
  add: (text: string) => Promise<boolean>;
  remove: (id: number) => Promise<boolean>;
}

export function useNotes(): NotesStore {
  const [notes, setNotes] = useState<Note[] | null>(null);
  const [error, setError] = useState<string | null>(null);
  const mounted = useRef(new AbortController());

  /** Runs one request and records its error; the request ends with the component. */
  const attempt = useCallback(async (request: (signal: AbortSignal) => Promise<void>) => {
    const { signal } = mounted.current;
    setError(null);
    try {
      await request(signal);
      return true;
    } catch (cause) {
      if (!signal.aborted) setError(errorMessage(cause));
      return false;
    }
  }, []);

  const load = useCallback(
    () =>
      attempt(async (signal) => {
        const loaded = await fetchNotes(signal);
        signal.throwIfAborted();
        setNotes(loaded);
      }),
    [attempt],
  );

  const add = useCallback(
    (text: string) =>
      attempt(async (signal) => {
        const note = await createNote(text, signal);
        setNotes((current) => current && [...current, note]);
      }),
    [attempt],
  );

  const remove = useCallback(
    (id: number) =>
      attempt(async (signal) => {
        await deleteNote(id, signal);
        setNotes((current) => current && current.filter((note) => note.id !== id));
      }),
    [attempt],
  );

  useEffect(() => {
    const controller = new AbortController();
    mounted.current = controller;
    void load();
    return () => controller.abort();
  }, [load]);

  return { notes, error, load, add, remove };
}
