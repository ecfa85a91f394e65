// Says what went wrong: for people the code, the message and what to do next, for programs one JSON document.
import { inspect } from 'node:util'
import { isDeferqError, maskUrl } from '../base/errors.ts'
import type { Paint } from './format.ts'
import { clean, plain } from './format.ts'

/** Stacks are for those who ask for them. */
export function wantsStacks(environment: NodeJS.ProcessEnv): boolean {
  return (environment.DEBUG ?? '').split(/[\s,]+/).some((each) => /^(deferq(:.*)?|\*)$/.test(each))
}

export function codeOf(error: unknown): string {
  if (isDeferqError(error)) return error.code
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'ERROR'
}

export function failureText(
  error: unknown,
  paint: Paint,
  options: { stacks?: boolean; help?: string } = {},
): string {
  const message = error instanceof Error ? error.message : String(error)
  const lines = [`${paint('red', codeOf(error))}: ${clean(maskUrl(message))}`]
  const hint = hintFor(error, options)
  if (hint !== undefined) lines.push(`${paint('dim', 'hint:')} ${hint}`)
  if (options.stacks) lines.push(paint('dim', stackOf(error)))
  return lines.join('\n')
}

export function failureDocument(error: unknown, options: { stacks?: boolean; help?: string } = {}): object {
  const hint = hintFor(error, options)
  const json = plain(error instanceof Error ? error : new Error(String(error)), options.stacks) as Record<
    string,
    unknown
  >
  return { error: { ...json, code: codeOf(error), ...(hint === undefined ? {} : { hint }) } }
}

/** The stack and those of its causes; frames of Node itself tell nobody anything. */
export function stackOf(error: unknown): string {
  const parts: string[] = []
  for (
    let at = error;
    at !== undefined && parts.length < 6;
    at = at instanceof Error ? at.cause : undefined
  ) {
    const text = at instanceof Error ? (at.stack ?? String(at)) : inspect(at, { depth: 4 })
    parts.push(text.replace(/\n\s+at (?=.*\bnode:)[^\n]*/g, ''))
  }
  return clean(maskUrl(parts.join('\ncaused by: ')))
}

function hintFor(error: unknown, { stacks, help }: { stacks?: boolean; help?: string }): string | undefined {
  if (!isDeferqError(error)) return stacks ? undefined : 'DEBUG=deferq shows the stack.'
  const { taskId } = (error.details ?? {}) as { taskId?: unknown }
  switch (error.code) {
    case 'USAGE':
      return help === undefined ? undefined : `${help} lists what can be given.`
    case 'INVALID_ID':
      return 'Ids are given whole: deferq list shows them.'
    case 'TASK_NOT_FOUND':
      return 'deferq list shows the runs of this store. Is it the right one (--url, DEFERQ_URL)?'
    case 'TASK_FAILED':
    case 'TASK_CANCELLED':
      return typeof taskId === 'string' ? `deferq retry ${taskId}` : undefined
    case 'NOT_FINISHED':
    case 'WAIT_TIMEOUT':
      return typeof taskId === 'string' ? `deferq result ${taskId} --wait` : undefined
    case 'UNKNOWN_TASK':
      return 'The tasks are those of the bootstrap file.'
    case 'SCOPE_REQUIRED':
      return 'Say which one with --scope=…'
    case 'STORE_UNAVAILABLE':
      return 'Is the store running, and is this its address (--url, DEFERQ_URL, or the bootstrap file)?'
    default:
      return undefined
  }
}
