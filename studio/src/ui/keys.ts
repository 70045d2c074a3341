/// Whether what is typed goes into a field.
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  const field = 'input:not([type=range], [type=checkbox], [type=radio]), textarea, select, dialog';
  return !!target?.closest(field);
}
