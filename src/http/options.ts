// The options of the interface, checked where they are written.

import { DeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Keys } from '../signing/signature.ts'
import { keysOf } from '../signing/signature.ts'
import { checkKnown, checkName, checkWhole } from '../tasks/check-options.ts'

export interface HandlerOptions {
  /** Whoever signs with one of these is let in: one, or two while one takes the place of the other. There is none by default. */
  secrets?: string | readonly string[]
  /** Without secrets: only requests from this very machine, by no proxy and no browser, are answered. */
  auth?: 'local-only'
  /** The names of the tasks that can be asked for; no other exists to the outside. */
  allow?: readonly string[]
  /** Further names, and the tasks they stand for: { report: 'report.generate' }. The outside never learns of the latter. */
  aliases?: Readonly<Record<string, string>>
  /** Where outcomes may be posted to by callbacks that are URLs: these origins ('https://app.example'), or true for any. Nowhere, by default. */
  webhooks?: true | readonly string[]
  /** How long a request may wait for a result at most (30 s). */
  maxWait?: Duration
  /** How many bytes a body may have (4 MiB). */
  maxBody?: number
}

export interface Settings {
  /** Undefined: local only. */
  keys: Keys | undefined
  allow: readonly string[]
  aliases: Readonly<Record<string, string>>
  /** Undefined: none are taken. */
  webhooks: true | ReadonlySet<string> | undefined
  maxWaitMs: number
  maxBody: number
}

const KNOWN = ['secrets', 'auth', 'allow', 'aliases', 'webhooks', 'maxWait', 'maxBody']

export function settingsOf(options: HandlerOptions): Settings {
  const at = 'createHandler()'
  checkKnown(options, KNOWN, at)
  const {
    secrets,
    auth,
    allow = [],
    aliases = {},
    webhooks,
    maxWait = '30s',
    maxBody = 4 * 1_048_576,
  } = options
  if (auth !== undefined && auth !== 'local-only')
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: auth is '${String(auth)}': leave it out, or use 'local-only'.`,
    )
  if (auth !== undefined && secrets !== undefined)
    throw new DeferqError('INVALID_OPTION', `${at}: give either secrets or auth: 'local-only', not both.`)
  const keys = auth === undefined ? keysOf(secrets as string, `${at}: secrets`) : undefined
  if (!Array.isArray(allow))
    throw new DeferqError('INVALID_OPTION', `${at}: allow must be a list of task names: ['report.generate'].`)
  for (const name of allow) checkName(name, `${at}: each name in allow`)
  for (const [alias, name] of Object.entries(aliases)) {
    checkName(alias, `${at}: an alias`)
    checkName(name, `${at}: aliases.${alias}`)
    if (allow.includes(alias))
      throw new DeferqError('INVALID_OPTION', `${at}: '${alias}' is both in allow and an alias.`)
  }
  if (allow.length === 0 && Object.keys(aliases).length === 0)
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: allow names the tasks that can be asked for, and names none: { allow: ['report.generate'] }.`,
    )
  checkWhole(maxBody, 1, 1_073_741_824, `${at}: maxBody`)
  const maxWaitMs = durationMs(maxWait, `${at}: maxWait`)
  return { keys, allow, aliases, webhooks: originsOf(webhooks, `${at}: webhooks`), maxWaitMs, maxBody }
}

function originsOf(webhooks: HandlerOptions['webhooks'], at: string): Settings['webhooks'] {
  if (webhooks === undefined || webhooks === true) return webhooks
  const isOrigin = (each: unknown): boolean =>
    typeof each === 'string' && /^https?:/.test(each) && URL.canParse(each) && new URL(each).origin === each
  if (Array.isArray(webhooks) && webhooks.every(isOrigin)) return new Set(webhooks)
  throw new DeferqError(
    'INVALID_OPTION',
    `${at} must be true or a list of origins such as 'https://app.example', without a path.`,
  )
}
