// Starts real RabbitMQ nodes for tests, each with a port mapper (epmd), a cookie and folders of its own.
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Sought } from './find.ts'
import { find, programOf, RABBITMQ } from './find.ts'
import type { RunningServer } from './process.ts'
import { launch, newFolder, onFreePort, until } from './process.ts'

const run = promisify(execFile)
const COOKIE = 'deferqtests'

export interface RabbitmqServer extends RunningServer {
  readonly url: string
  /** A function of the node, called with Erlang terms: 'vm_memory_monitor get_vm_memory_high_watermark []' */
  call(apply: string): Promise<string>
  /** The memory alarm: the node takes nothing from publishers until it is lifted. */
  alarm(on: boolean): Promise<void>
}

export interface RabbitmqOptions {
  /** Lines of rabbitmq.conf, for example ['consumer_timeout = 2000']. */
  config?: readonly string[]
}

/** One node of its own, which takes ten seconds; for everything but faults, share the one of global.ts. */
export async function startRabbitmq(options: RabbitmqOptions = {}): Promise<RabbitmqServer> {
  return startNode(await programOf(RABBITMQ, 'A RabbitMQ node of its own'), options)
}

/** The shared node's URL: DEFERQ_TEST_RABBITMQ_URL where there is nothing to start. */
export async function startSharedRabbitmq(): Promise<{ url: string; stop(): Promise<void> }> {
  const { program, url } = await find(RABBITMQ)
  return program ? startNode(program) : { url: url as string, stop: async () => undefined }
}

// They come with RabbitMQ, which runs on Erlang.
const erlang = (program: string): Sought => ({
  program,
  what: 'Erlang',
  debian: 'rabbitmq-server',
  brew: 'erlang',
  folders: ['/usr/lib/erlang/bin', '/opt/homebrew/lib/erlang/bin', '/usr/local/lib/erlang/bin'],
})

async function startNode(program: string, { config = [] }: RabbitmqOptions = {}): Promise<RabbitmqServer> {
  const mapper = await startMapper()
  const folder = mapper.dir
  const name = `deferq${mapper.port}@localhost`
  await mkdir(join(folder, 'home'))
  await writeFile(join(folder, 'home', '.erlang.cookie'), COOKIE, { mode: 0o400 })
  await writeFile(join(folder, 'enabled_plugins'), '[].\n')
  try {
    return await onFreePort(async (port) => {
      // Free as well: launch's ports leave room at +10000.
      const distribution = port + 10_000
      await writeFile(
        join(folder, 'rabbitmq.conf'),
        [`listeners.tcp.1 = 127.0.0.1:${port}`, 'disk_free_limit.absolute = 1MB', ...config, ''].join('\n'),
      )
      const node = await launch({
        what: 'rabbitmq-server',
        program,
        port,
        dir: folder,
        ready: answers,
        withinMs: 60_000,
        argv: ['-noinput'],
        env: {
          HOME: join(folder, 'home'),
          // The script then becomes the server, rather than a parent that passes signals on.
          RABBITMQ_ALLOW_INPUT: '1',
          RABBITMQ_NODENAME: name,
          RABBITMQ_DIST_PORT: `${distribution}`,
          RABBITMQ_MNESIA_BASE: join(folder, 'data'),
          RABBITMQ_LOG_BASE: join(folder, 'log'),
          RABBITMQ_LOGS: '-',
          RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
          RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'none'),
          RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
          RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
          RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
            '-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false',
          ERL_EPMD_PORT: `${mapper.port}`,
          ERL_EPMD_ADDRESS: '127.0.0.1',
        },
      })
      const call = async (apply: string): Promise<string> => {
        const erlCall = await programOf(erlang('erl_call'), 'A call of the node')
        const where = ['-address', `127.0.0.1:${distribution}`, '-c', COOKIE, '-timeout', '10']
        return (await run(erlCall, [...where, '-a', apply])).stdout
      }
      // Below what any node uses, and the default.
      const alarm = async (on: boolean) => {
        await call(`vm_memory_monitor set_vm_memory_high_watermark [${on ? '0.000001' : '0.4'}]`)
        // It is raised a moment later. Once it is listed, each connection has been told.
        await until(
          `the memory alarm is ${on ? 'raised' : 'lifted'}`,
          10_000,
          async () => (await call('rabbit_alarm get_alarms []')).includes('memory') === on,
        )
      }
      // In order takes seconds, and what it would write is thrown away.
      const stop = async () => {
        await node.kill9()
        await mapper.kill9()
        await mapper.stop()
      }
      return Object.defineProperties(node, {
        url: { value: `amqp://guest:guest@127.0.0.1:${port}` },
        call: { value: call },
        alarm: { value: alarm },
        stop: { value: stop },
      }) as RabbitmqServer
    })
  } catch (error) {
    await mapper.stop()
    throw error
  }
}

/** In the foreground: left to itself, a node starts one that outlives it. */
async function startMapper(): Promise<RunningServer> {
  const program = await programOf(erlang('epmd'), 'A RabbitMQ node of its own')
  return onFreePort(async (port) =>
    launch({
      what: 'epmd',
      program,
      port,
      dir: await newFolder(),
      ready: (port) => connects(port),
      argv: ['-port', `${port}`, '-address', '127.0.0.1'],
    }),
  )
}

/** It accepts connections a moment before it speaks. */
const answers = (port: number): Promise<boolean> => connects(port, 'AMQP\0\0\x09\x01')

function connects(port: number, greeting?: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1', timeout: 2_000 })
    const end = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
    socket.once('close', () => resolve(false))
    socket.once('connect', () => (greeting === undefined ? end(true) : socket.write(greeting)))
    socket.once('data', () => end(true))
  })
}
