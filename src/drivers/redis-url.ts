// Reads a Redis URL: which servers, in which arrangement, with which login and which options of ours.
import { DeferqError, maskUrl } from '../base/errors.ts'

export interface Target {
  kind: 'single' | 'cluster' | 'sentinel'
  hosts: { host: string; port: number }[]
  tls: boolean
  username?: string
  password?: string
  db: number
  /** With sentinel: what the sentinels call the master, and the login to themselves. */
  master?: string
  sentinelUsername?: string
  sentinelPassword?: string
  prefix?: string
  shards?: number
  /** Fit for messages. */
  masked: string
}

export const MAX_SHARDS = 1_024

const URL_SHAPE =
  /^(rediss?)(?:\+(cluster|sentinel))?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i
const HOST_SHAPE = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+)(?::(\d{1,5}))?$/i

const EXAMPLES =
  'redis://localhost:6379/0, rediss://user:password@host, redis+cluster://host1:6379,host2:6379 or ' +
  'redis+sentinel://host1:26379,host2:26379?name=mymaster'

export function readUrl(url: string): Target {
  const masked = mask(url)
  const wrong = (what: string): DeferqError =>
    new DeferqError('INVALID_URL', `The Redis URL ${masked} ${what}. Write it like ${EXAMPLES}.`)
  const match = URL_SHAPE.exec(url)
  if (match === null) throw wrong('can’t be read')
  const [, scheme, arrangement, login, list, path = '', query = ''] = match as unknown as (
    | string
    | undefined
  )[]
  const kind = (arrangement?.toLowerCase() ?? 'single') as Target['kind']
  const hosts = (list === '' ? 'localhost' : (list as string)).split(',').map((text) => {
    const host = HOST_SHAPE.exec(text)
    const port = Number(host?.[2] ?? (kind === 'sentinel' ? 26_379 : 6_379))
    if (host === null || port < 1 || port > 65_535) throw wrong(`names the host '${text}', which is none`)
    return { host: (host[1] as string).replace(/^\[|\]$/g, ''), port }
  })
  if (kind === 'single' && hosts.length > 1) {
    throw wrong('names several hosts: for a cluster say redis+cluster://, for sentinels redis+sentinel://')
  }
  const target: Target = { kind, hosts, tls: scheme?.toLowerCase() === 'rediss', db: 0, masked }
  try {
    if (login !== undefined) {
      const colon = login.indexOf(':')
      const username = decodeURIComponent(colon < 0 ? login : login.slice(0, colon))
      if (username !== '') target.username = username
      if (colon >= 0) target.password = decodeURIComponent(login.slice(colon + 1))
    }
    if (path !== '') {
      if (!/^\d{1,5}$/.test(path))
        throw wrong(`has the path '/${path}', where the number of a database belongs`)
      target.db = Number(path)
      if (kind === 'cluster' && target.db !== 0) throw wrong('asks for a database; a cluster has only 0')
    }
  } catch (error) {
    if (error instanceof URIError) throw wrong('has a login that is not percent-encoded properly')
    throw error
  }
  readOptions(target, new URLSearchParams(query), wrong)
  return target
}

function readOptions(target: Target, options: URLSearchParams, wrong: (what: string) => DeferqError): void {
  for (const [name, value] of options) {
    switch (name) {
      case 'prefix':
        target.prefix = checkPrefix(value)
        break
      case 'shards':
        target.shards = checkShards(/^\d+$/.test(value) ? Number(value) : Number.NaN)
        break
      case 'name':
      case 'sentinelUsername':
      case 'sentinelPassword':
        if (target.kind !== 'sentinel')
          throw wrong(`has the option '${name}', which is for redis+sentinel:// only`)
        target[name === 'name' ? 'master' : name] = value
        break
      default:
        throw wrong(
          `has the unknown option '${name}'; known are prefix, shards, and for sentinels name, ` +
            'sentinelUsername and sentinelPassword',
        )
    }
  }
  if (target.kind === 'sentinel' && !target.master) {
    throw wrong('lacks the name of the master, which the sentinels watch (?name=mymaster)')
  }
}

/** The prefix stands in key patterns and in a hash tag, where other characters would have a meaning. */
export function checkPrefix(prefix: string): string {
  if (/^[A-Za-z0-9_.:-]{1,64}$/.test(prefix)) return prefix
  throw new DeferqError(
    'INVALID_OPTION',
    `The prefix '${prefix}' can't be used: take 1 to 64 letters, digits, '_', '-', '.' or ':'.`,
  )
}

export function checkShards(shards: number): number {
  if (Number.isInteger(shards) && shards >= 1 && shards <= MAX_SHARDS) return shards
  throw new DeferqError(
    'INVALID_OPTION',
    `shards is ${shards}; it must be a whole number from 1 to ${MAX_SHARDS}.`,
  )
}

function mask(url: string): string {
  return maskUrl(url).replace(/([?&]sentinelPassword=)[^&#]*/gi, '$1***')
}
