// The commands that ask for work, or for it sooner: dispatch, retry and hasten.
import { DeferqError } from '../../base/errors.ts'
import type { DispatchOptions } from '../../tasks/options.ts'
import type { Dispatched } from '../../tasks/task.ts'
import type { Answer, Scene } from '../command.ts'
import { command } from '../command.ts'
import type { Flags } from '../flags.ts'
import { usage } from '../flags.ts'
import { runBlock, runDocument, waitFor } from '../runs.ts'

const WAIT = {
  kind: 'wait',
  value: '30s',
  about: 'wait for the result (for so long); it then decides the exit code',
} as const

const dispatch = command({
  name: 'dispatch',
  takes: '<name> [params-json]',
  about: 'ask for a piece of work',
  more:
    'The params are JSON ({} unless given): deferq dispatch report.generate \'{"year":2024}\'. With - they are read from\n' +
    'standard input. Without a bootstrap file any name is taken, and the key is that of a task with no options of its\n' +
    'own; with one, the schemas, keys and options of its tasks apply.',
  flags: {
    wait: WAIT,
    delay: { kind: 'duration', value: 'time', about: 'due after this long' },
    'run-at': { kind: 'moment', value: 'moment', about: 'due at this moment (2026-01-31T08:00:00Z)' },
    queue: { kind: 'text', value: 'name', about: 'into this queue' },
    priority: { kind: 'whole', value: 'number', least: -100, most: 100, about: '-100 to 100, higher first' },
    refresh: { kind: 'switch', about: 'run it anew, although a result is fresh' },
    'idempotency-key': {
      kind: 'text',
      value: 'text',
      about: 'what makes it the same work, instead of the params',
    },
    scope: { kind: 'text', value: 'text', about: 'deduplicate within this scope (a tenant, say)' },
    'trace-id': {
      kind: 'text',
      value: 'text',
      about: 'goes into its log lines and all that follows from it',
    },
    'result-ttl': { kind: 'duration', value: 'time', about: 'how long the result is fresh' },
    'stale-ttl': {
      kind: 'duration',
      value: 'time',
      about: 'how much longer it is served while it is refreshed',
    },
    'failure-ttl': { kind: 'duration', value: 'time', about: 'how long a failure is remembered' },
    retention: { kind: 'duration', value: 'time', about: 'how long the ended run can be read' },
    retries: { kind: 'whole', value: 'count', most: 10_000, about: 'attempts after the first' },
    timeout: { kind: 'duration', value: 'time', about: 'how long one attempt may take' },
    'on-mismatch': {
      kind: 'text',
      choices: ['join', 'reject'],
      about: 'when other params stand under the same key',
    },
    callback: {
      kind: 'list',
      value: 'a,b',
      about: 'tasks to dispatch, one after another, when it has succeeded',
    },
  },
  async run(scene): Promise<Answer> {
    const { positionals, values } = scene
    const { wait, delay, queue, priority, refresh, scope, retention, retries, timeout, callback } = values
    if (delay !== undefined && values['run-at'] !== undefined)
      throw usage('--delay and --run-at both say when it is due: give one of them.')
    const options: DispatchOptions = defined({
      delay,
      runAt: values['run-at'],
      queue,
      priority,
      refresh,
      scope,
      idempotencyKey: values['idempotency-key'],
      traceId: values['trace-id'],
      resultTtl: values['result-ttl'],
      staleTtl: values['stale-ttl'],
      failureTtl: values['failure-ttl'],
      retention,
      retries,
      timeout,
      onMismatch: values['on-mismatch'] as 'join' | 'reject' | undefined,
      callback,
    })
    const params = await paramsOf(positionals[1])
    const deferq = await scene.deferq()
    return answered(scene, await deferq.dispatch(positionals[0] as string, params, options), wait)
  },
})

const retry = command({
  name: 'retry',
  takes: '<id>',
  about: 'dispatch a failed or cancelled run anew',
  more: 'With the params and options it had. The new run has an id of its own.',
  flags: { wait: WAIT },
  async run(scene): Promise<Answer> {
    const deferq = await scene.deferq()
    return answered(scene, await deferq.retry(scene.positionals[0] as string), scene.values.wait)
  },
})

const hasten = command({
  name: 'hasten',
  takes: '<id>',
  about: 'let a run that waits for a later moment begin now',
  more: 'Delayed, debounced, or between two attempts: it is due at once. The exit code is 1 when it had ended already.',
  flags: {
    priority: { kind: 'whole', value: 'number', least: -100, most: 100, about: 'raise its priority to this' },
    wait: WAIT,
  },
  async run(scene): Promise<Answer> {
    const [taskId] = scene.positionals as [string]
    const { priority, wait } = scene.values
    const deferq = await scene.deferq()
    const answer = await deferq.hasten(taskId, priority === undefined ? {} : { priority })
    if (answer === 'unknown') {
      throw new DeferqError('TASK_NOT_FOUND', 'No run has this id: it never was, or its retention is over.', {
        details: { taskId },
      })
    }
    if (wait !== undefined && answer !== 'ended')
      await waitFor(scene, deferq, taskId, wait === true ? undefined : wait)
    const receipt = await deferq.getStatus(taskId)
    return {
      document: { ...(runDocument(receipt) as object), answer },
      text: runBlock(receipt, scene.paint),
      code: answer === 'ended' ? 1 : 0,
    }
  },
})

export const DISPATCHING = [dispatch, retry, hasten]

async function answered(
  scene: Scene<Flags>,
  dispatched: Dispatched,
  wait: number | true | undefined,
): Promise<Answer> {
  const { taskId } = dispatched
  let receipt = dispatched
  if (wait !== undefined) {
    const deferq = await scene.deferq()
    await waitFor(scene, deferq, taskId, wait === true ? undefined : wait)
    const { outcome, sameParams } = dispatched
    receipt = { ...(await deferq.getStatus(taskId)), outcome, sameParams }
  } else if (dispatched.status === 'pending' || dispatched.status === 'running') {
    scene.remark(`deferq result ${taskId} --wait`)
  }
  if (!dispatched.sameParams)
    scene.remark('Its params are not yours: another caller’s run stands under the same key.')
  const failed = receipt.status === 'failed' || receipt.status === 'cancelled'
  return { document: runDocument(receipt), text: runBlock(receipt, scene.paint), code: failed ? 1 : 0 }
}

/** The JSON of an argument, or of standard input for '-'. */
export async function paramsOf(text: string | undefined): Promise<unknown> {
  if (text === undefined) return {}
  const json = text === '-' ? await standardInput() : text
  try {
    return JSON.parse(json)
  } catch (error) {
    const where = text === '-' ? 'What was read from standard input' : `The params ${shown(text)}`
    const { message } = error as Error
    throw usage(`${where} can't be read as JSON: ${message}. ${jsonAdvice(json)}`.trimEnd())
  }
}

function jsonAdvice(text: string): string {
  if (text.trim() === '') return 'There is nothing in it.'
  if (/^\s*\{\s*[\w$]+\s*:/.test(text) || text.includes("'"))
    return `JSON wants double quotes, and the shell single ones around them: '{"year":2024}'.`
  if (/^[{[]/.test(text.trim()))
    return `Is it in single quotes, so that the shell leaves it alone? '{"year":2024}'.`
  return `Text needs quotes of its own: '"text"'.`
}

const shown = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text)

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
