// Starts real Redis servers for tests: a single one, a cluster, and a master with replica and sentinels.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { find, programOf, REDIS } from './find.ts'
import type { RunningServer } from './process.ts'
import { launch, newFolder, onFreePort, until } from './process.ts'
import { field, send } from './wire.ts'

export interface RedisServer extends RunningServer {
  readonly url: string
}

export interface RedisOptions {
  /** Redis options as for its command line, for example ['--appendonly', 'yes', '--appendfsync', 'always']. */
  args?: readonly string[]
  /** Where the data lies; a temporary folder unless given. stop() deletes only a temporary one. */
  dir?: string
}

/** One server of its own on a free loopback port; for everything but faults, share the one of global.ts. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  return startServer(await programOf(REDIS, 'A Redis server of its own'), options)
}

/** The shared server's URL: DEFERQ_TEST_REDIS_URL where there is nothing to start. */
export async function startSharedRedis(): Promise<{ url: string; stop(): Promise<void> }> {
  const { program, url } = await find(REDIS)
  return program ? startServer(program) : { url: url as string, stop: async () => undefined }
}

const SERVER = {
  what: 'redis-server',
  // A server that wants a password is up too; one that is still loading its file isn't.
  ready: (port: number) =>
    send(port, ['PING'], 500).then(
      () => true,
      (error: Error) => error.message.startsWith('NOAUTH'),
    ),
}

async function startServer(program: string, { args = [], dir }: RedisOptions = {}): Promise<RedisServer> {
  return onFreePort(async (port) => {
    const server = await launch({
      ...SERVER,
      program,
      port,
      dir: dir ?? (await newFolder()),
      keepDir: dir !== undefined,
      argv: ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...args],
    })
    return Object.defineProperty(server, 'url', { value: `redis://127.0.0.1:${port}` }) as RedisServer
  })
}

export interface RedisCluster {
  readonly url: string
  readonly urls: readonly string[]
  /** Empty when the cluster is someone else's (DEFERQ_TEST_REDIS_CLUSTER_URL). */
  readonly nodes: readonly RedisServer[]
  stop(): Promise<void>
}

const SLOTS = 16_384

export async function startRedisCluster(masters = 3): Promise<RedisCluster> {
  const given = await givenUrl('DEFERQ_TEST_REDIS_CLUSTER_URL')
  if (given) return { url: given, urls: hosts(given), nodes: [], stop: async () => undefined }

  const program = await programOf(REDIS, 'A Redis Cluster', 'DEFERQ_TEST_REDIS_CLUSTER_URL')
  // One that has met no other does not know its own address.
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '2000',
    '--cluster-announce-ip',
    '127.0.0.1',
  ]
  const nodes = await all(Array.from({ length: masters }, () => startServer(program, { args })))
  const ports = nodes.map((node) => node.port)
  try {
    await Promise.all(
      ports.map(async (port, i) => {
        const from = Math.floor((i * SLOTS) / masters)
        const to = Math.floor(((i + 1) * SLOTS) / masters)
        // Slot by slot, not by range: ADDSLOTSRANGE is only there from Redis 7 on.
        await send(port, ['CLUSTER', 'ADDSLOTS', ...Array.from({ length: to - from }, (_, s) => from + s)])
        await send(port, ['CLUSTER', 'SET-CONFIG-EPOCH', i + 1])
      }),
    )
    // Each meets each: waiting for gossip to spread the news would take seconds.
    for (const [i, port] of ports.entries()) {
      for (const other of ports.slice(i + 1)) await send(port, ['CLUSTER', 'MEET', '127.0.0.1', other])
    }
    await until('every node of the cluster sees all slots served', 20_000, async () => {
      const infos = await Promise.all(ports.map((port) => send(port, ['CLUSTER', 'INFO'])))
      return infos.every(
        (info) =>
          field(info, 'cluster_state') === 'ok' &&
          field(info, 'cluster_known_nodes') === `${masters}` &&
          field(info, 'cluster_slots_ok') === `${SLOTS}`,
      )
    })
  } catch (error) {
    await stopAll(nodes)
    throw error
  }
  return {
    url: `redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join(',')}`,
    urls: nodes.map((node) => node.url),
    nodes,
    stop: () => stopAll(nodes),
  }
}

export interface RedisSentinel {
  readonly url: string
  /** The data servers and the sentinels; empty when they are someone else's (DEFERQ_TEST_REDIS_SENTINEL_URL). */
  readonly servers: readonly RunningServer[]
  readonly sentinels: readonly RunningServer[]
  /** The port of the present master, as the first sentinel tells it. */
  master(): Promise<number>
  /** 'asked' promotes the replica in order; 'crash' kills the master, and the sentinels find out by themselves. */
  failover(how?: 'asked' | 'crash'): Promise<void>
  stop(): Promise<void>
}

const NAME = 'deferq'

export async function startRedisSentinel(count = 3): Promise<RedisSentinel> {
  const given = await givenUrl('DEFERQ_TEST_REDIS_SENTINEL_URL')
  if (given) return foreignSentinel(given)

  const program = await programOf(REDIS, 'Redis Sentinel', 'DEFERQ_TEST_REDIS_SENTINEL_URL')
  // Without the delay of 5 s that waits for more replicas before the first copy.
  const fast = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1']
  const first = await startServer(program, { args: fast })
  const started: RunningServer[] = [first]
  try {
    const replica = await startServer(program, {
      args: [...fast, '--replicaof', '127.0.0.1', `${first.port}`],
    })
    started.push(replica)
    // First the link, then the sentinels: they look for replicas when they start, and again only 10 s later.
    await until('the replica is in step with its master', 10_000, async () => {
      const info = await send(replica.port, ['INFO', 'replication'])
      return field(info, 'master_link_status') === 'up'
    })
    const sentinels = await all(
      Array.from({ length: count }, () => startSentinel(program, first.port, Math.floor(count / 2) + 1)),
    )
    started.push(...sentinels)
    const ports = sentinels.map((sentinel) => sentinel.port)
    await until('every sentinel knows the replica and the other sentinels', 20_000, async () => {
      const states = await Promise.all(ports.map(masterState))
      return states.every((s) => s['num-slaves'] === '1' && s['num-other-sentinels'] === `${count - 1}`)
    })
    const servers = [first, replica]
    return {
      url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(',')}?name=${NAME}`,
      servers,
      sentinels,
      master: () => masterPort(ports[0] as number),
      failover: (how = 'asked') => failover(servers, ports, how),
      stop: () => stopAll(started),
    }
  } catch (error) {
    await stopAll(started)
    throw error
  }
}

async function failover(
  servers: readonly RunningServer[],
  ports: readonly number[],
  how: 'asked' | 'crash',
): Promise<void> {
  const before = await masterPort(ports[0] as number)
  if (how === 'crash') {
    await servers.find((server) => server.port === before)?.kill9()
  } else {
    // A sentinel declines while the last failover is settling or its view of the replica is old: ask again.
    await until('a sentinel accepts the failover', 20_000, async () => {
      return (await send(ports[0] as number, ['SENTINEL', 'FAILOVER', NAME])) === 'OK'
    })
  }
  await until('every sentinel names the new master, and it is one', 30_000, async () => {
    const now = await Promise.all(ports.map(masterPort))
    if (now.some((port) => port === before || port !== now[0])) return false
    const role = await send(now[0] as number, ['ROLE'])
    return Array.isArray(role) && role[0] === 'master'
  })
}

async function startSentinel(program: string, masterPort: number, quorum: number): Promise<RunningServer> {
  return onFreePort(async (port) => {
    const dir = await newFolder()
    // A sentinel rewrites its configuration as it learns, so it takes a file and no command line.
    const file = join(dir, 'sentinel.conf')
    await writeFile(
      file,
      [
        `port ${port}`,
        'bind 127.0.0.1',
        `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} ${quorum}`,
        `sentinel down-after-milliseconds ${NAME} 1000`,
        `sentinel failover-timeout ${NAME} 3000`,
        `sentinel parallel-syncs ${NAME} 1`,
        '',
      ].join('\n'),
    )
    return launch({ ...SERVER, program, port, dir, argv: [file, '--sentinel'] })
  })
}

async function masterState(port: number): Promise<Record<string, string>> {
  const reply = (await send(port, ['SENTINEL', 'MASTER', NAME])) as string[]
  return Object.fromEntries(reply.flatMap((word, i) => (i % 2 ? [] : [[word, reply[i + 1] as string]])))
}

async function masterPort(port: number): Promise<number> {
  const reply = await send(port, ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME])
  return Number((reply as string[])[1])
}

function foreignSentinel(url: string): RedisSentinel {
  const refuse = () =>
    programOf(REDIS, 'A failover').then(() => Promise.reject(new Error('not ours to fail over')))
  return {
    url,
    servers: [],
    sentinels: [],
    master: refuse,
    failover: refuse,
    stop: async () => undefined,
  }
}

// A URL counts only where there is no program to start one's own with: one's own can be broken on purpose.
async function givenUrl(variable: string): Promise<string | undefined> {
  const { program } = await find(REDIS)
  return program ? undefined : process.env[variable] || undefined
}

function hosts(url: string): string[] {
  const list = /\/\/(?:[^@/]*@)?([^/?]+)/.exec(url)?.[1] ?? ''
  return list.split(',').map((host) => `redis://${host}`)
}

/** All of them, or none: when one fails to start, the others are stopped. */
async function all<T extends RunningServer>(starting: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(starting)
  const failed = settled.find((one) => one.status === 'rejected')
  const running = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  if (!failed) return running
  await stopAll(running)
  throw failed.reason
}

async function stopAll(servers: readonly RunningServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()))
}
