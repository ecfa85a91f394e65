// Reads and edits the text of an envelope in place: what nobody meant to change keeps its very bytes, and integers their digits.

import { isUtf8 } from 'node:buffer'
import { environment } from '../base/environment.ts'

export type Json = Record<string, unknown>

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The value of a body, or why there is none. A mark of byte order is no JSON. */
export function parseBody(body: Uint8Array): { value: unknown } | { error: string } {
  if (!isUtf8(body)) return { error: 'it is not UTF-8' }
  try {
    return { value: parseExact(bufferOf(body).toString('utf8')) }
  } catch (error) {
    // V8 quotes the text, of which nobody wants a megabyte in an annotation.
    const why = error instanceof RangeError ? 'it nests too deep' : (error as Error).message
    return { error: `it is not JSON: ${why.slice(0, 200)}` }
  }
}

/** Stands before the digits of an integer while they travel as text; no message can know it. */
const DIGITS = `${environment.randomUUID()}:`
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g
// More are no number that anybody means, and a BigInt of them takes more than linear time to read.
const MOST_DIGITS = 1_000

/** As JSON.parse, save that an integer which a double can't hold becomes a BigInt: an id of another language stays that id. */
export function parseExact(text: string): unknown {
  const value = JSON.parse(text) as unknown
  if (!/\d{16}/.test(text)) return value
  let found = false
  const marked = text.replace(TOKENS, (token) => {
    if (token.length < 16 || token.length > MOST_DIGITS || !/^-?\d+$/.test(token)) return token
    if (Number.isSafeInteger(Number(token))) return token
    found = true
    return `"${DIGITS}${token}"`
  })
  if (!found) return value
  return JSON.parse(marked, (_, each) =>
    typeof each === 'string' && each.startsWith(DIGITS) ? BigInt(each.slice(DIGITS.length)) : each,
  )
}

/** As JSON.stringify; a BigInt is written as the integer that it is. */
export function stringifyExact(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (!(error instanceof TypeError) || !/BigInt/.test(error.message)) throw error
  }
  const text = JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${DIGITS}${each}` : each))
  return text.replaceAll(new RegExp(`"${DIGITS}(-?\\d+)"`, 'g'), '$1')
}

interface Member {
  name: string
  /** From the quote before its name to the end of its value, in bytes. */
  start: number
  valueAt: number
  end: number
}

/** The member with this value instead of its own: where it stands, or after all others. The body must be a JSON object. */
export function withMember(body: Uint8Array, name: string, value: unknown): Buffer {
  const bytes = bufferOf(body)
  const members = membersOf(bytes)
  const text = Buffer.from(stringifyExact(value))
  // Of two with one name everybody reads the last.
  const there = members.findLast((each) => each.name === name)
  if (there !== undefined)
    return Buffer.concat([bytes.subarray(0, there.valueAt), text, bytes.subarray(there.end)])
  const last = members.at(-1)
  const at = last === undefined ? bytes.indexOf('{') + 1 : last.end
  const before = `${last === undefined ? '' : ','}${JSON.stringify(name)}:`
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(before), text, bytes.subarray(at)])
}

/** Without the member, all its duplicates included: of what `withMember` added, no trace is left. */
export function withoutMember(body: Uint8Array, name: string): Buffer {
  let bytes = bufferOf(body)
  for (;;) {
    const members = membersOf(bytes)
    const index = members.findLastIndex((each) => each.name === name)
    const member = members[index]
    if (member === undefined) return bytes
    const before = members[index - 1]
    const after = members[index + 1]
    const from = before === undefined ? member.start : before.end
    const to = before === undefined && after !== undefined ? after.start : member.end
    bytes = Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)])
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Of text that has been parsed: nothing is checked a second time. Every byte of JSON's own signs is ASCII. */
function membersOf(bytes: Buffer): Member[] {
  const members: Member[] = []
  let at = bytes.indexOf('{') + 1
  for (;;) {
    while (isSpace(bytes[at]) || bytes[at] === 0x2c) at++
    if (bytes[at] !== QUOTE) return members
    const start = at
    const nameEnd = endOfText(bytes, at)
    const name = JSON.parse(bytes.toString('utf8', start, nameEnd)) as string
    at = nameEnd
    while (isSpace(bytes[at]) || bytes[at] === 0x3a) at++
    const end = endOfValue(bytes, at)
    members.push({ name, start, valueAt: at, end })
    at = end
  }
}

function endOfText(bytes: Buffer, at: number): number {
  let next = at + 1
  while (bytes[next] !== QUOTE) next += bytes[next] === BACKSLASH ? 2 : 1
  return next + 1
}

/** Counts brackets rather than descend, so that no depth is too deep. */
function endOfValue(bytes: Buffer, from: number): number {
  let depth = 0
  for (let at = from; at < bytes.length; ) {
    const byte = bytes[at] as number
    if (byte === QUOTE) {
      at = endOfText(bytes, at)
      if (depth === 0) return at
      continue
    }
    if (byte === 0x7b || byte === 0x5b) depth++
    else if (byte === 0x7d || byte === 0x5d) {
      // The end of the envelope itself, after a number or a word.
      if (depth === 0) return at
      if (--depth === 0) return at + 1
    } else if (depth === 0 && (byte === 0x2c || isSpace(byte))) return at
    at++
  }
  return bytes.length
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
