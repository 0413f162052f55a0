// The one place where the title is written. It has a module of its own because
// React Fast Refresh wants component modules to export nothing but components.
export const TITLE = "Kiro Notes";
