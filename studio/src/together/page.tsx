export function TogetherPage() { return <div>Together</div>; }
