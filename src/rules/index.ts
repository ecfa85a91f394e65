// Rules: predicates that travel with a run, and are asked once more just before it runs.
//
// A rule is `{ path: value }` (equal), `{ path: { op: value, … } }` (all of them) or `{ op: [{ path, value }, …] }`; `and`, `or` and
// `not` take rules, and a list of rules holds when all do. A path begins with `params.`, `facts.` or `meta.`; without, with the params.

import { DeferqError } from '../base/errors.ts'
import { decode } from '../values/decode.ts'
import { encode } from '../values/encode.ts'
import { MAX_TEXT, Pattern } from './pattern.ts'

export type Operator =
  | 'eq'
  | 'ne'
  | 'gt'
  | 'gte'
  | 'lt'
  | 'lte'
  | 'in'
  | 'nin'
  | 'exists'
  | 'matches'
  | 'contains'

export type Rules = Rule | readonly Rule[]
export type Rule = { readonly [pathOrOperator: string]: unknown }

/** What paths lead into. */
export interface Scope {
  params: unknown
  facts: unknown
  meta: unknown
}

/** Undefined when it holds; else the part that does not, for people. */
type Check = (scope: Scope) => string | undefined

const MAX_DEPTH = 8
const MAX_CONDITIONS = 100
const MAX_BYTES = 16_384
const MAX_PATH = 200
const ROOTS = ['params', 'facts', 'meta'] as const
const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype'])

const OPERATORS: Record<Operator, (found: unknown, value: never) => boolean> = {
  eq: (found, value) => isEqual(found, value),
  ne: (found, value) => !isEqual(found, value),
  gt: (found, value) => order(found, value) > 0,
  gte: (found, value) => order(found, value) >= 0,
  lt: (found, value) => order(found, value) < 0,
  lte: (found, value) => order(found, value) <= 0,
  in: (found, value: unknown[]) => value.some((each) => isEqual(found, each)),
  nin: (found, value: unknown[]) => !value.some((each) => isEqual(found, each)),
  exists: (found, value: boolean) => (found !== undefined) === value,
  matches: (found, value: Pattern) =>
    typeof found === 'string' && found.length <= MAX_TEXT && value.matches(found),
  contains: (found, value) => {
    if (typeof found === 'string') return typeof value === 'string' && found.includes(value)
    if (found instanceof Set) return [...found].some((each) => isEqual(each, value))
    return Array.isArray(found) && found.some((each) => isEqual(each, value))
  },
}
const isOperator = (name: string): name is Operator => Object.hasOwn(OPERATORS, name)

/** The text that travels with the run. Whatever is wrong with it is said now, with its place, and not in a worker some days later. */
export function rulesText(rules: unknown, where: string): string {
  let text: string
  try {
    text = encode(rules, 'params', { depth: 50, bytes: MAX_BYTES })
  } catch (cause) {
    throw new DeferqError('INVALID_OPTION', `${where} can't be sent: ${(cause as Error).message}`, { cause })
  }
  new Reading(where).all(decode(text), where, 1)
  return text
}

/** What `rulesText` wrote; answers undefined when all hold, else what does not. */
export function rulesOf(text: string): Check {
  try {
    return new Reading('rules').all(decode(text), 'rules', 1)
  } catch (cause) {
    throw new DeferqError(
      'MALFORMED_VALUE',
      `The stored rules of this run can't be read: ${(cause as Error).message}`,
      { cause },
    )
  }
}

class Reading {
  readonly #where: string
  #conditions = 0

  constructor(where: string) {
    this.#where = where
  }

  all(rules: unknown, at: string, depth: number): Check {
    if (depth > MAX_DEPTH) throw refused(at, `nest deeper than ${MAX_DEPTH}`)
    if (Array.isArray(rules)) {
      if (rules.length === 0) throw refused(at, 'are empty: leave them out')
      return every(rules.map((rule, index) => this.all(rule, `${at}[${index}]`, depth + 1)))
    }
    if (!isPlain(rules) || Object.keys(rules).length === 0)
      throw refused(
        at,
        "must be like { status: 'active' } or { gte: [{ path: 'facts.balance', value: 100 }] }",
      )
    return every(Object.entries(rules).map(([name, value]) => this.#one(name, value, `${at}.${name}`, depth)))
  }

  #one(name: string, value: unknown, at: string, depth: number): Check {
    if (name === 'and') return this.all(value, at, depth + 1)
    if (name === 'or') {
      if (!Array.isArray(value) || value.length === 0) throw refused(at, 'must be a list of rules')
      const of = value.map((rule, index) => this.all(rule, `${at}[${index}]`, depth + 1))
      return (scope) => {
        const failed = of.map((check) => check(scope))
        return failed.includes(undefined) ? undefined : failed.join(', and ')
      }
    }
    if (name === 'not') {
      const check = this.all(value, at, depth + 1)
      return (scope) => (check(scope) === undefined ? `not ${brief(value)} does not hold` : undefined)
    }
    if (isOperator(name)) {
      const list = Array.isArray(value) ? value : [value]
      if (list.length === 0) throw refused(at, 'must be a list of { path, value }')
      return every(
        list.map((each, index) => {
          const place = `${at}[${index}]`
          if (!isPlain(each) || typeof each.path !== 'string')
            throw refused(place, `must be { path, value }, for ${name} is an operator`)
          const stray = Object.keys(each).find((own) => own !== 'path' && own !== 'value')
          if (stray !== undefined) throw refused(place, `has '${stray}': there are only path and value`)
          return this.#condition(each.path, name, each.value, place)
        }),
      )
    }
    // A path: with the value it has to have, or with operators.
    if (!isPlain(value)) return this.#condition(name, 'eq', value, at)
    const operators = Object.entries(value)
    if (operators.length === 0)
      throw refused(at, 'is empty: to be compared with an object it needs { eq: {} }')
    return every(
      operators.map(([operator, wanted]) => {
        if (isOperator(operator)) return this.#condition(name, operator, wanted, `${at}.${operator}`)
        const known = [...Object.keys(OPERATORS), 'and', 'or', 'not'].join(', ')
        throw refused(at, `has no operator '${operator}'. Known: ${known}`)
      }),
    )
  }

  #condition(path: string, operator: Operator, value: unknown, at: string): Check {
    if (++this.#conditions > MAX_CONDITIONS)
      throw refused(this.#where, `have more than ${MAX_CONDITIONS} conditions`)
    const steps = stepsOf(path, at)
    const wanted = wantedOf(operator, value, at)
    const holds = OPERATORS[operator] as (found: unknown, value: unknown) => boolean
    return (scope) => {
      const found = follow(scope, steps)
      if (holds(found, wanted)) return undefined
      const long = operator === 'matches' && typeof found === 'string' && found.length > MAX_TEXT
      return long
        ? `${path} is longer than the ${MAX_TEXT} characters that matches looks at`
        : `${path} ${operator} ${brief(value)} does not hold (it is ${brief(found)})`
    }
  }
}

const every =
  (checks: Check[]): Check =>
  (scope) => {
    for (const check of checks) {
      const failed = check(scope)
      if (failed !== undefined) return failed
    }
    return undefined
  }

function stepsOf(path: string, at: string): string[] {
  const steps = path.split('.')
  if (path.length > MAX_PATH || steps.includes(''))
    throw refused(at, `has the path '${path.slice(0, 60)}': it must be names with dots between them`)
  const forbidden = steps.find((step) => FORBIDDEN.has(step))
  if (forbidden !== undefined) throw refused(at, `has a path with '${forbidden}', which no rule may look at`)
  return (ROOTS as readonly string[]).includes(steps[0] as string) && steps.length > 1
    ? steps
    : ['params', ...steps]
}

/** What the operator compares with, in the form it needs. */
function wantedOf(operator: Operator, value: unknown, at: string): unknown {
  switch (operator) {
    case 'in':
    case 'nin':
      if (!Array.isArray(value)) throw refused(at, `must be a list, for ${operator} compares with each of it`)
      return value
    case 'exists':
      if (value !== undefined && typeof value !== 'boolean') throw refused(at, 'must be true or false')
      return value ?? true
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      if (kindOf(value) === undefined) throw refused(at, 'must be a number, a bigint, text or a Date')
      return value
    case 'matches':
      try {
        if (typeof value !== 'string') throw new Error('it is no text')
        return new Pattern(value)
      } catch (cause) {
        const why = (cause as Error).message
        throw refused(at, `is no pattern that it can match: ${brief(value)}, ${why}`)
      }
    default:
      return value
  }
}

/** Only own properties are followed, so that no path reaches a prototype. Lists are entered by their index. */
function follow(scope: Scope, steps: readonly string[]): unknown {
  let at: unknown = scope
  for (const step of steps) {
    if (at instanceof Map) at = at.get(step)
    else if (typeof at === 'object' && at !== null && Object.hasOwn(at, step))
      at = (at as Record<string, unknown>)[step]
    else return undefined
  }
  return at
}

const kindOf = (value: unknown): 'number' | 'text' | 'moment' | undefined =>
  typeof value === 'bigint' || (typeof value === 'number' && !Number.isNaN(value))
    ? 'number'
    : typeof value === 'string'
      ? 'text'
      : value instanceof Date
        ? 'moment'
        : undefined

/** NaN where the two can't be ordered, which no comparison holds for. */
function order(found: unknown, value: unknown): number {
  const kind = kindOf(found)
  if (kind === undefined || kind !== kindOf(value)) return Number.NaN
  const [a, b] = [found as number, value as number]
  return a < b ? -1 : a > b ? 1 : kind === 'number' || +a === +b || kind === 'text' ? 0 : Number.NaN
}

/** By what they say: two dates of one moment are equal, and so are two lists of equal things. */
function isEqual(found: unknown, value: unknown): boolean {
  if (found === value) return true
  if (typeof found !== 'object' || typeof value !== 'object' || found === null || value === null) return false
  try {
    return encode(found, 'params') === encode(value, 'params')
  } catch {
    // Facts may hold what has no text, and equals nothing then.
    return false
  }
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  [Object.prototype, null].includes(Object.getPrototypeOf(value) as null)

/** Short enough for a message. */
function brief(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    text = undefined
  }
  text ??= String(value)
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

function refused(at: string, why: string): DeferqError {
  return new DeferqError('INVALID_OPTION', `${at} ${why}.`, { details: { path: at } })
}
