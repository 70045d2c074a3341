/// Whether a dialog lies over the page: keys are for that alone.
export function isDialogOpen(): boolean {
  return document.querySelector('dialog[open]') !== null;
}

/// Whether what is typed goes into a field.
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  const field = 'input:not([type=range], [type=checkbox], [type=radio]), textarea, select, dialog';
  return !!target?.closest(field);
}
