// Makes a library of Redis functions from the server-side scripts, so that nothing is defined anew with each call.

/** In a script's source, a `local` with this behind it keeps its value from call to call. */
const ONCE = / -- once$/
/** One that is done as soon as the first of the shared parts is set; what it answers, if anything, is the script's answer. */
const FIRST = / -- first$/

interface Chunk {
  text: string
  /** What it declares; a statement declares nothing. */
  names: string[]
}

/**
 * A script reads from top to bottom: definitions, then what is done. Of an admit of one draft, defining the 60 functions
 * that all scripts share took Redis a third of its time. So here they are defined when the library is loaded; `begin()` sets
 * what else the shared part declares (the keys, the clock, empty tables) with each call, and then the script's own
 * statements run. Two limits of Lua shape this: a function captures 60 variables at the most, hence a `begin` per
 * part; and what it captured stays alive, hence `rest` lets go of a call's texts at its end.
 */
export function libraryOf(
  name: string,
  parts: readonly string[],
  scripts: Record<string, string>,
  flags: Record<string, string>,
): string {
  const shared = parts.map(chunksOf)
  const lines = [
    `#!lua name=${name}`,
    declare(['KEYS', 'ARGV', ...shared.flat().flatMap(({ names }) => names)]),
    ...defined(shared.flat()),
    // Not while it is loaded: Redis has neither string nor math then.
    'local isSet',
    asFunction('local function once()', [...shared.flat().filter(isOnce), SET]),
    ...shared.map((chunks, part) => asFunction(`local function begin${part}()`, chunks.filter(isEach))),
    ...shared.map((chunks, part) => `local function rest${part}() ${letGo(chunks)} end`),
  ]
  for (const [verb, source] of Object.entries(scripts)) {
    const own = chunksOf(source)
    const [first] = own.filter(({ text }) => FIRST.test(text))
    const [basics, ...others] = shared.map((_part, at) => at)
    lines.push(
      'do',
      declare(own.flatMap(({ names }) => names)),
      ...defined(own),
      asFunction('local function run()', own.filter(isEach)),
      `redis.register_function{function_name = '${name}_${verb}', flags = {${flags[verb] ?? ''}}, callback = function(keys, argv)`,
      'KEYS, ARGV = keys, argv',
      'if not isSet then once() end',
      `begin${basics}()`,
      first === undefined ? 'local reply' : first.text.replace(/^local \w+/, 'local reply'),
      'if not reply then',
      ...others.map((part) => `begin${part}()`),
      'reply = run()',
      ...others.map((part) => `rest${part}()`),
      letGo(own),
      'end',
      `rest${basics}()`,
      'KEYS, ARGV = nil, nil',
      'return reply',
      'end}',
      'end',
    )
  }
  return lines.join('\n')
}

const isFunction = ({ text }: Chunk): boolean => text.startsWith('local function')
const isOnce = ({ text }: Chunk): boolean => ONCE.test(text)
const isEach = (chunk: Chunk): boolean => !isFunction(chunk) && !isOnce(chunk) && !FIRST.test(chunk.text)
const SET: Chunk = { text: 'isSet = true', names: [] }

const declare = (names: readonly string[]): string =>
  names.length === 0 ? '' : `local ${[...new Set(names)].join(', ')}`

const defined = (chunks: readonly Chunk[]): string[] => chunks.filter(isFunction).map(assigned)

const asFunction = (head: string, chunks: readonly Chunk[]): string =>
  [head, ...chunks.map(assigned), 'end'].join('\n')

function letGo(chunks: readonly Chunk[]): string {
  const names = chunks.filter(isEach).flatMap(({ names }) => names)
  return names.length === 0 ? '' : `${names.join(', ')} = nil`
}

/** The definition as an assignment to what has been declared. */
function assigned({ text, names }: Chunk): string {
  if (names.length === 0) return text
  if (text.startsWith('local function') || text.includes('=')) return text.replace(/^local /, '')
  return `${names.join(', ')} = nil`
}

/** A chunk begins with a line that is neither indented nor the end of what stands before. */
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
    const [, name, list] = /^local (?:function (\w+)|([\w, ]+?)(?: =| --|\n|$))/.exec(text) ?? []
    const names = name === undefined ? (list ?? '').split(',').map((each) => each.trim()) : [name]
    return { text, names: names.filter((each) => each !== '') }
  })
}
