// From a text that `encode` wrote back to its value.
import { DeferqError } from '../base/errors.ts'
import { TAG } from './encode.ts'
import { DEEPEST } from './limits.ts'

type Plain = Record<string, unknown>

/** Begins the text that stands for a result which lies in a store of its own; JSON never begins like it. */
export const REFERENCE = '@result:'

export const isReference = (text: string | undefined): text is string => text?.startsWith(REFERENCE) === true

/** The value that `encode` wrote. Bytes come back as Uint8Array; every object has the ordinary prototype. */
export function decode(text: string): unknown {
  let tree: unknown
  try {
    tree = JSON.parse(text)
  } catch (cause) {
    if (isReference(text)) throw elsewhere(text)
    throw malformed('it is not JSON', cause)
  }
  return isPlain(text) ? tree : revive(tree, 0)
}

/** The same of JSON that is parsed already. It is changed in place; what is refused is left as it came. */
export const decodeTree = (tree: unknown): unknown => revive(tree, 0)

/** Whether it says nothing beyond JSON. Three searches cost less than one walk; an escape could hide either name, and encode() seldom writes one. */
export const isPlain = (text: string): boolean =>
  !text.includes('"$deferq"') && !text.includes('__proto__') && !text.includes('\\u')

/** Restores tags in place, innermost first. */
function revive(tree: unknown, depth: number): unknown {
  if (typeof tree !== 'object' || tree === null) return tree
  if (depth > DEEPEST * 4) throw malformed('it nests too deep')
  if (Array.isArray(tree)) {
    for (let i = 0; i < tree.length; i++) tree[i] = revive(tree[i], depth + 1)
    return tree
  }
  const object = tree as Plain
  const keys = Object.keys(object)
  for (const key of keys) {
    if (key === '__proto__') throw malformed('it has a property called __proto__')
    object[key] = revive(object[key], depth + 1)
  }
  if (!Object.hasOwn(object, TAG)) return object
  const tag = object[TAG]
  if (keys.length !== 1 || !Array.isArray(tag)) throw malformed(`'${TAG}' is not a tag in it`)
  return untag(tag)
}

/** Only what `encode` can have written is taken, so that one value never has two texts. */
function untag(tag: unknown[]): unknown {
  const [type, content] = tag
  if (type === 'undefined' && tag.length === 1) return undefined
  if (tag.length === 2 && typeof content === 'string') {
    if (type === 'BigInt' && /^(0x0|-?0x[1-9a-f][0-9a-f]*)$/.test(content)) {
      return content.startsWith('-') ? -BigInt(content.slice(1)) : BigInt(content)
    }
    if (type === 'Date') {
      const date = new Date(content)
      if (!Number.isNaN(date.getTime()) && date.toISOString() === content) return date
    }
    if (type === 'bytes') {
      const bytes = Buffer.from(content, 'base64')
      if (bytes.toString('base64') === content) return new Uint8Array(bytes)
    }
  }
  if (tag.length === 2 && Array.isArray(content)) {
    if (type === 'Set') {
      const set = new Set(content)
      if (set.size === content.length) return set
    }
    if (type === 'Map' && content.every((entry) => Array.isArray(entry) && entry.length === 2)) {
      const map = new Map(content as [unknown, unknown][])
      if (map.size === content.length) return map
    }
  }
  throw malformed('a tag in it is of an unknown type, or its content does not fit its type')
}

function elsewhere(text: string): DeferqError {
  return new DeferqError(
    'MALFORMED_VALUE',
    'This result lies in a store of its own and is not to be had from here: it has gone from that store, or this process ' +
      'lacks the option results: new DeferQ({ results: { store, above } }), with the same store as the workers have.',
    { details: { reference: text.slice(REFERENCE.length) } },
  )
}

function malformed(why: string, cause?: unknown): DeferqError {
  const text = `A stored value can't be read: ${why}. Something other than deferq wrote it, or another version.`
  return new DeferqError('MALFORMED_VALUE', text, { cause })
}
