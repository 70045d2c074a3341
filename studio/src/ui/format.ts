/// Numbers as people read them.

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 1) return '< 1 s';
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${minutes / 60} h`;
}

export function bytes(count: number): string {
  if (count < 1e6) return `${Math.round(count / 1e3)} kB`;
  if (count < 1e9) return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
  return `${(count / 1e9).toFixed(1)} GB`;
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/// Of what was typed into a field and cannot stand there: what it was, why not, and what stands there now.
/// "“-5” was not taken: at least 1. It is 50 now."
export function refusalOf(typed: string | undefined, reason: string, now: string): string {
  const what = typed === undefined ? 'What was typed' : typed.trim() ? `“${typed.trim()}”` : 'An empty field';
  return `${what} was not taken: ${reason.charAt(0).toLowerCase()}${reason.slice(1).replace(/\.$/, '')}. It is ${now || 'empty'} now.`;
}

/// "today 14:05", "3 May", "3 May 2025".
export function when(iso: string, now = new Date()): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '';
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  if (date.toDateString() === now.toDateString()) return `today ${time}`;
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' as const };
  return date.toLocaleDateString([], { day: 'numeric', month: 'short', ...year });
}

/// "concept-files/racer.safetensors" → "racer".
export function stem(path: string): string {
  return (path.split('/').pop() ?? path).replace(/\.[^.]+$/, '');
}
