// Makes the ioredis clients that a target asks for: single, cluster or sentinel, for commands or for hints.

import type { ConnectionOptions } from 'node:tls'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { readingConnector } from './redis-stream.ts'
import type { Target } from './redis-url.ts'

export type Library = Pick<typeof import('ioredis'), 'Redis' | 'Cluster' | 'Command' | 'AbstractConnector'>
export type Client = Redis | Cluster

export interface ClientSettings {
  timeoutMs: number
  tls?: ConnectionOptions
}

export async function loadLibrary(): Promise<Library> {
  try {
    return await import('ioredis')
  } catch (error) {
    throw new DeferqError('MISSING_DEPENDENCY', 'Redis needs the package ioredis: npm install ioredis', {
      cause: error,
    })
  }
}

/** From 50 ms up to a second: a restarted server is found quickly, one that is away is not hammered. */
export const retryMs = (attempt: number): number =>
  Math.round(Math.min(1_000, 50 * 2 ** Math.min(attempt, 5)) * (0.75 + environment.random() / 2))

function baseOptions(library: Library, target: Target, { timeoutMs, tls }: ClientSettings): RedisOptions {
  const isPlain = !target.tls && target.kind !== 'sentinel'
  return {
    lazyConnect: true,
    connectTimeout: timeoutMs,
    // Connection resends by itself, because it knows what may be repeated; here nothing waits in a queue.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(target.tls ? { tls: tls ?? {} } : {}),
    ...(isPlain ? { Connector: readingConnector(library.AbstractConnector) } : {}),
  }
}

function place(target: Target, settings: ClientSettings): RedisOptions {
  if (target.kind !== 'sentinel') return { ...target.hosts[0], db: target.db }
  return {
    sentinels: target.hosts,
    name: target.master as string,
    db: target.db,
    sentinelRetryStrategy: retryMs,
    ...(target.sentinelUsername === undefined ? {} : { sentinelUsername: target.sentinelUsername }),
    ...(target.sentinelPassword === undefined ? {} : { sentinelPassword: target.sentinelPassword }),
    ...(target.tls ? { enableTLSForSentinelMode: true, sentinelTLS: settings.tls ?? {} } : {}),
  }
}

export function commandClient(library: Library, target: Target, settings: ClientSettings): Client {
  const base = baseOptions(library, target, settings)
  if (target.kind === 'cluster') {
    const { enableOfflineQueue: _always, maxRetriesPerRequest: _none, ...redisOptions } = base
    return new library.Cluster(target.hosts, {
      lazyConnect: true,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryMs,
      slotsRefreshTimeout: settings.timeoutMs,
      retryDelayOnFailover: 0,
      maxRedirections: 8,
      // A connection on which nothing comes is dead, though nobody has said so; of a single one, Connection notices.
      redisOptions: { ...redisOptions, maxRetriesPerRequest: 0, socketTimeout: settings.timeoutMs },
    })
  }
  return new library.Redis({
    ...base,
    ...place(target, settings),
    retryStrategy: retryMs,
    // A demoted master: connect again, which asks the sentinels (or the name service) for the present one.
    reconnectOnError: (error) => error.message.includes('READONLY'),
  })
}

/**
 * A connection that only listens; when it ends, its owner makes another. On a cluster any node hears
 * everything.
 */
export function hintClient(
  library: Library,
  target: Target,
  settings: ClientSettings,
  commands: Client,
): Redis {
  const options: RedisOptions = {
    ...baseOptions(library, target, settings),
    ...place(target, settings),
    socketTimeout: settings.timeoutMs,
    retryStrategy: null,
    autoResubscribe: false,
    enableOfflineQueue: true,
  }
  if (target.kind === 'cluster') {
    const nodes = (commands as Cluster).nodes('all').filter(({ status }) => status !== 'end')
    const node = nodes[Math.floor(environment.random() * nodes.length)]
    const { host, port } = node?.options ?? target.hosts[0] ?? {}
    return new library.Redis({ ...options, host: host ?? 'localhost', port: port ?? 6_379 })
  }
  return new library.Redis(options)
}
