export function ConceptsPage() { return <div>Concepts</div>; }
