// The command that serves the HTTP interface: deferq serve.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import { createHandler, toNodeListener } from '../../http/index.ts'
import { command } from '../command.ts'
import { usage, variableOf } from '../flags.ts'
import { clean } from '../format.ts'

const PORT = 8_282
/** What is under way at a signal is given this long. */
const GRACE_MS = 5_000

const serve = command({
  name: 'serve',
  takes: '',
  about: 'let other applications dispatch over HTTP, by signed requests',
  more:
    `The secret is read from ${variableOf('secret')}; with --secret-env=A,B from other variables, each of which is taken.\n` +
    'Only what --allow and --alias name can be asked for. Put a proxy with TLS before it on a network that is not your own.',
  flags: {
    port: { kind: 'whole', value: 'number', most: 65_535, about: `(${PORT}; 0: a free one)` },
    host: { kind: 'text', value: 'address', about: 'the address to listen at (127.0.0.1)' },
    allow: { kind: 'list', value: 'names', about: 'the tasks that may be asked for' },
    alias: {
      kind: 'texts',
      value: 'name=task',
      about: 'a further name for a task that is not to be known; repeated',
    },
    webhooks: { kind: 'list', value: 'origins', about: 'where callbacks may post outcomes to (nowhere)' },
    'secret-env': { kind: 'list', value: 'variables', about: 'where the secrets are' },
    'local-only': { kind: 'switch', about: 'no secret: answer this machine alone' },
    'max-wait': { kind: 'duration', value: 'time', about: 'how long a request may wait for a result (30s)' },
  },
  async run({ values, deferq }): Promise<number> {
    const { port = PORT, host = '127.0.0.1', allow = [], alias = [] } = values
    const local = values['local-only'] ?? false
    if (local && values['secret-env'] !== undefined) throw usage('--local-only has no use for --secret-env.')
    const secrets = local ? undefined : secretsIn(values['secret-env'] ?? [variableOf('secret')])
    const maxWait = values['max-wait']
    if (allow.length === 0 && alias.length === 0)
      throw usage(
        'Which tasks may be asked for? Write --allow=report.generate,mail.send (or --alias=report=report.generate).',
      )
    const handler = createHandler(await deferq(), {
      allow,
      aliases: aliasesOf(alias),
      ...(secrets === undefined ? { auth: 'local-only' as const } : { secrets }),
      ...(maxWait === undefined ? {} : { maxWait }),
      ...(values.webhooks === undefined ? {} : { webhooks: values.webhooks }),
    })
    const listener = toNodeListener(handler)
    const server = createServer((request, response) => void listener(request, response))
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(unservable(error, host, port)))
      server.listen(port, host, resolve)
    })
    const { address, port: bound } = server.address() as AddressInfo
    const shown = address.includes(':') ? `[${address}]` : address
    process.stdout.write(
      `deferq serves ${[...allow, ...alias].map(clean).join(', ')} at http://${shown}:${bound}\n`,
    )
    await new Promise<void>((resolve) => {
      const end = (): void => {
        // The second signal has its usual effect.
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end)
        server.close(() => resolve())
        server.closeIdleConnections()
        environment.setTimeout(() => server.closeAllConnections(), GRACE_MS).unref()
      }
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, end)
    })
    return 0
  },
})

export const SERVING = [serve]

function secretsIn(variables: readonly string[]): string[] {
  return variables.map((variable) => {
    const secret = process.env[variable]
    if (secret !== undefined && secret !== '') return secret
    throw usage(
      `There is no secret in ${variable}, and none by default: set it to at least 32 random characters, or use --local-only on a machine of your own.`,
    )
  })
}

function aliasesOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      if (at < 1 || at === text.length - 1)
        throw usage(`--alias is '${text}': write --alias=report=report.generate.`)
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
}

function unservable(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const why: Record<string, string> = {
    EADDRINUSE: `The port ${port} is in use.`,
    EACCES: `The port ${port} may not be opened by this user.`,
    EADDRNOTAVAIL: `There is no address ${host} on this machine.`,
    ENOTFOUND: `There is no host ${host}.`,
  }
  const said = why[error.code ?? '']
  return said === undefined
    ? error
    : new DeferqError('USAGE', `${said} Give another with --port= or --host=.`, { cause: error })
}
