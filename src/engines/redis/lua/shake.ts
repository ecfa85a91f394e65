// Leaves out of a script what it has no use for: Redis makes every function and table anew with each call.

interface Chunk {
  text: string
  /** What it defines; a statement defines nothing, and is always kept. */
  names: string[]
  uses: Set<string>
}

/**
 * A definition is what begins with `local` in the first column; it is kept when something that is kept names it. A
 * function costs about 0.5 µs a call even when it is not called itself: of 60 functions, `read` keeps 19 and `extend` 23.
 * Lua finds a variable that a function captures by going through all that were captured before, from the last one
 * declared to the first: so all names are declared at once, those that are captured most at the end (4 % fewer
 * instructions for one draft).
 */
export function shake(source: string): string {
  const chunks = chunksOf(source)
  const kept = new Set(chunks.filter(({ names }) => names.length === 0))
  for (let size = -1; size !== kept.size; ) {
    size = kept.size
    const used = new Set([...kept].flatMap(({ uses }) => [...uses]))
    for (const chunk of chunks) if (chunk.names.some((name) => used.has(name))) kept.add(chunk)
  }
  const used = chunks.filter((chunk) => kept.has(chunk))
  const functions = used.filter(({ text }) => text.startsWith('local function'))
  const captures = (name: string): number => functions.filter(({ uses }) => uses.has(name)).length
  const names = [...new Set(used.flatMap((chunk) => chunk.names))].sort((a, b) => captures(a) - captures(b))
  const declared = names.length === 0 ? [] : [`local ${names.join(', ')}`]
  return [...declared, ...used.map(assigned)].join('\n')
}

/** The definition as an assignment to what has been declared. */
function assigned({ text, names }: Chunk): string {
  if (names.length === 0) return text
  return text.startsWith('local function') || text.includes('=') ? text.replace(/^local /, '') : ''
}

function chunksOf(source: string): Chunk[] {
  const texts: string[][] = [[]]
  for (const line of source.split('\n')) {
    const code = line.replace(/^\s*--.*$/, '')
    if (code === '') continue
    if (/^[a-z]/.test(code) && !/^(end|else|elseif|until)\b/.test(code)) texts.push([])
    texts.at(-1)?.push(code)
  }
  return texts.map((lines) => {
    const text = lines.join('\n')
    const [, name, list] = /^local (?:function (\w+)|([\w, ]+?)(?: =|\n|$))/.exec(text) ?? []
    const names = name === undefined ? (list ?? '').split(',').map((each) => each.trim()) : [name]
    return { text, names: names.filter((each) => each !== ''), uses: new Set(text.match(/[A-Za-z_]\w*/g)) }
  })
}
