// The command that looks into a broker's queues and sends back what was set aside there: deferq queue depth|peek|redrive.
import { environment } from '../../base/environment.ts'
import type { Described } from '../../bridge/redrive.ts'
import { asideOf, describe, MOST_SEEN, redrive } from '../../bridge/redrive.ts'
import type { Transport } from '../../contract/transport.ts'
import { openTransport } from '../../transports/open.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { usage } from '../flags.ts'
import type { Paint } from '../format.ts'
import { clean, plain, readable, table } from '../format.ts'
import { nearest } from '../nearest.ts'

const SELECTING = ['select', 'urn', 'reason'] as const
const ACTIONS = {
  depth: [],
  peek: ['limit', ...SELECTING],
  redrive: ['to', 'max', 'dry-run', ...SELECTING],
} as const
type Action = keyof typeof ACTIONS

const queue = command({
  name: 'queue',
  takes: '<depth|peek|redrive> <queue>',
  about: 'look into a broker’s queues, and send back what was set aside',
  more:
    'depth    how much is in these queues (a,b) and in their dead letters\n' +
    'peek     the first messages of a queue, or of its dead letters (orders.dlq); takes nothing\n' +
    'redrive  from <queue>.dlq back to where each message came from (or --to), without its annotation and with all its\n' +
    '         attempts before it; what is not selected goes to the end of the dead letters\n\n' +
    'The url is the broker’s: deferq queue redrive orders --url=amqp://localhost --reason=failed --dry-run',
  flags: {
    limit: {
      kind: 'whole',
      value: 'count',
      least: 1,
      most: MOST_SEEN,
      about: 'peek: this many at most (10)',
    },
    to: { kind: 'text', value: 'queue', about: 'redrive: to this queue' },
    max: { kind: 'whole', value: 'count', least: 1, about: 'redrive: this many at most (all)' },
    'dry-run': {
      kind: 'switch',
      about: `redrive: only say what would be sent (of the first ${MOST_SEEN})`,
    },
    urn: { kind: 'text', value: 'urn', about: 'those of this URN alone' },
    reason: {
      kind: 'text',
      value: 'reason',
      about: 'those set aside for this reason alone (failed, unknown_urn, poison)',
    },
    select: {
      kind: 'texts',
      value: 'path=value',
      about: 'those in which this stands (data.customer.id=17); repeated: all of it',
    },
  },
  async run({ positionals, values, paint, remark }): Promise<Answer> {
    const [action, name] = positionals as [Action, string]
    if (!Object.hasOwn(ACTIONS, action)) {
      const meant = nearest(action, Object.keys(ACTIONS))
      throw usage(
        `queue has no action '${action}'. ${meant === undefined ? 'There are depth, peek and redrive.' : `Did you mean ${meant}?`}`,
      )
    }
    const { url } = values as { url?: string }
    const stray = Object.keys(queue.flags).find(
      (flag) =>
        (values as Record<string, unknown>)[flag] !== undefined &&
        !(ACTIONS[action] as readonly string[]).includes(flag),
    )
    if (stray !== undefined) throw usage(`queue ${action} has no use for --${stray}.`)
    if (url === undefined)
      throw usage(
        'Where is the broker? Write --url=amqp://localhost (or redis://, postgres://, sqlite:), or set DEFERQ_URL.',
      )
    const select = selector(values)
    const transport = await openTransport(url)()
    try {
      await transport.open()
      for (const caveat of transport.name === 'memory' ? transport.caveats : []) remark(caveat)
      if (action === 'depth') return await depth(transport, name, paint)
      if (action === 'peek') return await peek(transport, name, values, select, paint)
      const { to, max, 'dry-run': dryRun = false } = values
      const done = await redrive(transport, name, {
        ...(to === undefined ? {} : { to }),
        ...(max === undefined ? {} : { max }),
        dryRun,
        select,
      })
      const { messages, ...counts } = done
      const targets = Object.entries(done.sent).map(([target, count]) => `${count} to ${clean(target)}`)
      const said =
        done.count === 0
          ? `Nothing ${dryRun ? 'would be' : 'was'} sent: ${done.looked} looked at in ${clean(done.from)}.`
          : `${dryRun ? 'Would send' : 'Sent'} ${targets.join(', ')}, of ${done.looked} looked at in ${clean(done.from)}.`
      const shown = dryRun && messages.length > 0 ? `${messageTable(messages, paint)}\n\n${said}` : said
      return { document: plain({ ...counts, dryRun, messages: messages.map(documentOf) }), text: shown }
    } finally {
      await transport.close()
    }
  },
})

export const QUEUE = [queue]

async function depth(transport: Transport, names: string, paint: Paint): Promise<Answer> {
  const asked = names
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
  const all = [...new Set(asked.flatMap((each) => [each, asideOf(each)]))]
  const depths = await transport.depth(all)
  const shown = (count: number | undefined): string => (count === undefined ? '?' : String(count))
  const rows = depths.map(({ queue, ready, delayed, reserved }) => [
    clean(queue),
    shown(ready),
    shown(delayed),
    shown(reserved),
  ])
  return {
    document: { queues: plain(depths) },
    text: table(['QUEUE', 'READY', 'DELAYED', 'RESERVED'], rows, paint),
  }
}

async function peek(
  transport: Transport,
  name: string,
  { limit = 10, ...values }: { limit?: number; [flag: string]: unknown },
  select: (message: Described) => boolean,
  paint: Paint,
): Promise<Answer> {
  const selecting = SELECTING.some((flag) => values[flag] !== undefined)
  const all = (await transport.peek(name, selecting ? MOST_SEEN : limit)).map(describe)
  const messages = all.filter(select).slice(0, limit)
  const text =
    messages.length > 0
      ? messageTable(messages, paint)
      : all.length === 0
        ? `Nothing is ready in ${clean(name)}.`
        : `None of the first ${all.length} in ${clean(name)} is like that.`
  return { document: { queue: name, messages: messages.map(documentOf) }, text }
}

function messageTable(messages: readonly Described[], paint: Paint): string {
  const age = (at: number | undefined): string =>
    at === undefined ? '' : readable(Math.max(0, environment.now() - at))
  return table(
    ['URN', 'ID', 'AGE', 'ATTEMPTS', 'REASON', 'ERROR'],
    messages.map(({ urn = '?', id = '?', createdAt, attempts, reason = '', error = '' }) => [
      clean(urn).slice(0, 60),
      clean(id).slice(0, 36),
      age(createdAt),
      attempts === undefined ? '' : String(attempts),
      reason,
      clean(error).replaceAll('\n', ' ').slice(0, 80),
    ]),
    paint,
  )
}

/** The body as text, where it is; what is no JSON object as base64, so that none of its bytes is lost. */
function documentOf({ body, found, ...rest }: Described): unknown {
  const bytes = Buffer.from(body)
  return plain({
    ...rest,
    ...(found === undefined ? { base64: bytes.toString('base64') } : { body: bytes.toString('utf8') }),
  })
}

function selector({
  urn,
  reason,
  select = [],
}: {
  urn?: string
  reason?: string
  select?: string[]
}): (message: Described) => boolean {
  const pairs = select.map((text) => {
    const at = text.indexOf('=')
    if (at < 1)
      throw usage(`--select is '${text}': write --select=path=value, such as --select=data.customer.id=17.`)
    return [text.slice(0, at).split('.'), text.slice(at + 1)] as const
  })
  return (message) =>
    (urn === undefined || message.urn === urn) &&
    (reason === undefined || message.reason === reason) &&
    pairs.every(([path, value]) => textAt(message.found, path) === value)
}

function textAt(found: unknown, path: readonly string[]): string | undefined {
  let at = found
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string, unknown>)[name]
  }
  return typeof at === 'object' && at !== null ? JSON.stringify(plain(at)) : String(at)
}
