// From a value to its text: canonical for params, with what plain JSON would merge kept apart by tags.

import { isArrayBuffer, isDate, isMap, isSet, isUint8Array } from 'node:util/types'
import stringify from 'fast-json-stable-stringify'
import { DeferqError } from '../base/errors.ts'
import type { Frame, Plain } from './frame.ts'
import type { About, Limits } from './limits.ts'
import { boundsOf, LIMITS } from './limits.ts'
import { className, isIndex, isIndexName, isPlain, levels, sort } from './plain-json.ts'

/** The one key that user objects may not have. With it, no user value can look like a tag. */
export const TAG = '$deferq'

/** What a finished Map or Set left in the tree. Inside a string the quotes are escaped: it can't be forged. */
const PLACE = /\{"\$deferq":(\d+)\}/g

/**
 * The JSON text of a value. For params it is canonical, spelled and ordered as RFC 8785 says, with the members of a
 * Set and the entries of a Map sorted by their texts, so that equal values have equal texts; a result keeps its order.
 * Date, BigInt, Map, Set, bytes (Uint8Array, Buffer, ArrayBuffer) and undefined are written as
 * `{"$deferq":[type, content]}`. Properties that are undefined count as absent, -0 as 0. All that would not come back
 * as it was is refused with its path.
 */
export function encode(value: unknown, about: About = 'params', limits?: Partial<Limits>): string {
  return new Walk(about, about, limits).encode(value)
}

/**
 * One reading of a value. It makes a copy that holds JSON only, with every property read once, so that an
 * accessor or a Proxy can't show the stringifier something else than was checked.
 */
export class Walk {
  private readonly about: About
  private readonly root: string
  private readonly limits: Limits
  private nodes = 0
  /** A lower bound of the text's length: it stops a few shared strings from becoming gigabytes of text. */
  private length = 0
  private depth = 0
  private frame: Frame | undefined
  private fault: DeferqError | undefined
  /** Whether the tree's own order is that of the text. An object always puts names that are an index first, and by their number. */
  private isInOrder = true
  /** Whether the text says nothing beyond JSON: the checked copy is then what would be read back from it. */
  isPlain = true
  /** The texts of Maps and Sets that wait for their places in the tree. */
  private readonly texts: string[] = []

  constructor(about: About, root: string, limits?: Partial<Limits>) {
    this.about = about
    this.root = root
    this.limits = limits === undefined ? LIMITS[about] : boundsOf(LIMITS[about], limits)
  }

  encode(value: unknown): string {
    return this.text(this.read(value))
  }

  /** The checked copy, for `text`. */
  read(value: unknown): unknown {
    try {
      return this.plain(value)
    } catch (error) {
      if (this.fault !== undefined && error === this.fault) throw error
      const why = error instanceof Error ? error.message : 'something that is no Error was thrown'
      throw this.refuse(`can't be read: ${why}`, 'Pass plain data instead', error)
    }
  }

  /** The text of a checked copy, which may be written more than once. */
  text(tree: unknown): string {
    const text = this.write(tree)
    // A UTF-16 unit takes at most three bytes, so most texts need no count.
    if (text.length * 3 > this.limits.bytes) this.checkBytes(Buffer.byteLength(text), '')
    return text
  }

  private write(tree: unknown): string {
    const text = this.isInOrder ? JSON.stringify(tree) : stringify(tree)
    return this.texts.length === 0 ? text : text.replace(PLACE, (_, index) => this.texts[index] as string)
  }

  private plain(value: unknown): unknown {
    this.checkNodes(++this.nodes)
    switch (typeof value) {
      case 'string':
        this.checkString(value)
        return value
      case 'number':
        // The difference is NaN for NaN and both infinities, and for nothing else.
        if (value - value !== 0)
          throw this.refuse(`is ${value}`, 'Pass null or a string, JSON has no such number')
        // Of -0 the text says 0.
        return value + 0
      case 'boolean':
        return value
      case 'undefined':
        this.isPlain = false
        return { [TAG]: ['undefined'] }
      case 'bigint':
        this.isPlain = false
        return { [TAG]: ['BigInt', this.digits(value)] }
      case 'object':
        return value === null ? null : this.container(value)
      default:
        throw this.refuse(`is a ${typeof value}`, 'Pass plain data instead')
    }
  }

  private container(value: object): unknown {
    const above = this.frame
    for (let frame = above; frame !== undefined; frame = frame.above) {
      if (frame.value === value) throw this.refuse('contains itself', 'Pass an id in place of the inner one')
    }
    const { depth } = this.limits
    if (++this.depth > depth) throw this.tooLarge(this.depth, 'levels deep', depth, 'Flatten it, or pass ids')
    const frame: Frame = { value, above, at: '', part: '' }
    const proto = Object.getPrototypeOf(value)
    let copy: unknown
    if (Array.isArray(value)) {
      // In any realm Array.prototype is itself an array; an instance of a subclass has more above it.
      if (proto !== Array.prototype && !(Array.isArray(proto) && levels(value) === 2))
        throw this.instance(value)
      copy = this.array(value, frame)
    } else if (proto === Object.prototype || isPlain(proto)) {
      copy = this.object(value as Plain, frame)
    } else {
      copy = this.tagged(value, frame)
    }
    this.frame = above
    this.depth--
    return copy
  }

  private object(value: Plain, frame: Frame): Plain {
    const keys = Object.keys(value)
    this.checkNodes(this.nodes + keys.length)
    this.checkSymbols(value)
    this.frame = frame
    if (this.about === 'params') sort(keys)
    const copy: Plain = {}
    for (const key of keys) {
      frame.at = key
      if (key === TAG) throw this.refuse('has a reserved name', "Rename it, for it marks deferq's own tags")
      if (key === '__proto__') throw this.refuse('would change a prototype', 'Rename it')
      this.checkString(key)
      if (this.about === 'params' && isIndexName(key)) this.isInOrder = false
      const item = value[key]
      if (item !== undefined) copy[key] = this.plain(item)
    }
    return copy
  }

  private array(value: unknown[], frame: Frame): unknown[] {
    this.checkSymbols(value)
    const { length } = value
    this.checkNodes(this.nodes + length)
    this.frame = frame
    // Names come after all indices, so the last key tells whether there is one.
    const last = Object.keys(value).at(-1)
    if (last !== undefined && last !== String(length - 1) && !isIndex(last, length)) {
      frame.at = last
      throw this.refuse('is a named property of an array', 'Use an object that has the array as a property')
    }
    const copy: unknown[] = []
    for (let i = 0; i < length; i++) {
      frame.at = i
      copy.push(this.plain(value[i]))
    }
    return copy
  }

  /** The types that have a tag. What an object really is decides, not its prototype; subclasses are refused. */
  private tagged(value: object, frame: Frame): Plain {
    this.isPlain = false
    const own = levels(value)
    if (isUint8Array(value)) {
      if (own !== (Buffer.isBuffer(value) ? 4 : 3)) throw this.instance(value)
      return this.bytes(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    }
    const known = isDate(value) || isMap(value) || isSet(value) || isArrayBuffer(value)
    if (!known || own !== 2) throw this.instance(value)
    this.checkSymbols(value)
    const [extra] = Object.keys(value)
    if (extra !== undefined) {
      this.frame = frame
      frame.at = extra
      throw this.refuse(`is a named property of a ${className(value)}`, 'Keep it in an object of its own')
    }
    if (isArrayBuffer(value)) return this.bytes(Buffer.from(value))
    if (!isDate(value)) return this.collection(value, frame)
    if (Number.isNaN(value.getTime())) throw this.refuse('is an invalid Date', 'Pass null or a valid Date')
    return { [TAG]: ['Date', value.toISOString()] }
  }

  /** Written at once, because texts are what is sorted; what stays in the tree is the number of its text. */
  private collection(value: Map<unknown, unknown> | Set<unknown>, frame: Frame): Plain {
    const place = this.texts.length
    const type = isMap(value) ? 'Map' : 'Set'
    const written: string[] = []
    this.checkNodes(this.nodes + value.size)
    this.frame = frame
    let at = 0
    for (const member of value as Iterable<unknown>) {
      frame.at = at++
      if (type === 'Map') {
        const [key, item] = member as [unknown, unknown]
        frame.part = 'key '
        const keyCopy = this.plain(key)
        frame.part = 'value '
        written.push(this.write([keyCopy, this.plain(item)]))
      } else {
        frame.part = 'member '
        written.push(this.write(this.plain(member)))
      }
      // Those inside this one have found their places: dropped, so that nesting doesn't pile up copies.
      this.texts.length = place
    }
    if (this.about === 'params') written.sort()
    this.texts.push(`{"${TAG}":["${type}",[${written.join(',')}]]}`)
    return { [TAG]: place }
  }

  /** Hexadecimal, because decimal takes more than linear time: 14 s for 16 MiB of digits. */
  private digits(value: bigint): string {
    const digits = value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`
    this.checkBytes((this.length += digits.length))
    return digits
  }

  private bytes(bytes: Buffer): Plain {
    this.checkBytes((this.length += Math.ceil(bytes.length / 3) * 4))
    return { [TAG]: ['bytes', bytes.toString('base64')] }
  }

  private checkString(text: string): void {
    this.checkBytes((this.length += text.length))
    if (text.isWellFormed()) return
    throw this.refuse('has a lone surrogate', 'Cut strings between characters, or call toWellFormed()')
  }

  private checkSymbols(value: object): void {
    for (const symbol of Object.getOwnPropertySymbols(value)) {
      if (!Object.prototype.propertyIsEnumerable.call(value, symbol)) continue
      throw this.refuse(`has a property named by ${String(symbol)}`, 'Name it by a string')
    }
  }

  private checkBytes(size: number, known = 'at least '): void {
    const { bytes } = this.limits
    if (size > bytes) throw this.tooLarge(size, 'bytes', bytes, 'Pass a reference to the data instead', known)
  }

  /** Called with a container's size before its first member is read, so that a sparse array costs nothing. */
  private checkNodes(count: number): void {
    const { nodes } = this.limits
    if (count > nodes)
      throw this.tooLarge(count, 'values', nodes, 'Split it, or pass a reference to the data')
  }

  private instance(value: object): DeferqError {
    return this.refuse(`is an instance of ${className(value)}`, 'Pass plain data instead')
  }

  private refuse(what: string, advice: string, cause?: unknown): DeferqError {
    const path = this.path()
    const code = this.about === 'params' ? 'UNHASHABLE_PARAMS' : 'UNSTORABLE_RESULT'
    this.fault = new DeferqError(code, `${path} ${what}. ${advice}.`, { cause, details: { path } })
    return this.fault
  }

  private tooLarge(
    size: number,
    unit: string,
    limit: number,
    advice: string,
    known = 'at least ',
  ): DeferqError {
    const path = this.path()
    const code = this.about === 'params' ? 'PARAMS_TOO_LARGE' : 'RESULT_TOO_LARGE'
    const where = path === this.root ? '' : ` (reached at ${path})`
    const text = `${this.root} is too large: ${known}${size} ${unit}, over the limit of ${limit}${where}. ${advice}.`
    this.fault = new DeferqError(code, text, { details: { path, size, unit, limit } })
    return this.fault
  }

  private path(): string {
    let path = ''
    for (let frame = this.frame; frame !== undefined; frame = frame.above) {
      const { at, part } = frame
      if (typeof at === 'number') path = `[${part}${at}]${path}`
      else if (/^[A-Za-z_$][\w$]{0,63}$/.test(at)) path = `.${at}${path}`
      else path = `[${JSON.stringify(at.length > 64 ? `${at.slice(0, 64)}…` : at)}]${path}`
    }
    return this.root + path
  }
}
