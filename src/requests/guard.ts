// Decides where an outgoing request may go, when its URL is read and again when its connection is made.
import type { LookupAddress, LookupOptions } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { DeferqError } from '../base/errors.ts'
import type { Range } from './addresses.ts'
import { addressOf, contains, rangeOf, refusalOf } from './addresses.ts'
import { bareHost, checkUrl } from './url.ts'

type Done = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void

export class Guard {
  readonly #ranges: readonly Range[]
  readonly #hosts: ReadonlySet<string>
  readonly #suffixes: readonly string[]
  readonly #resolve: LookupFunction

  /** `allow`: addresses, ranges (10.0.0.0/8), hosts, and with `*.` all hosts below one. */
  constructor(allow: readonly string[] = [], resolve: LookupFunction = bySystem) {
    if (!Array.isArray(allow)) throw unfit(allow)
    const ranges: Range[] = []
    const hosts: string[] = []
    for (const each of allow as unknown[]) {
      if (typeof each !== 'string' || each === '') throw unfit(each)
      const range = rangeOf(each.replace(/^\[(.*)\]$/, '$1'))
      if (range !== undefined) ranges.push(range)
      else if (/^(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?$/i.test(each)) hosts.push(bareHost(each))
      else throw unfit(each)
    }
    this.#ranges = ranges
    this.#hosts = new Set(hosts)
    this.#suffixes = hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1))
    this.#resolve = resolve
  }

  /**
   * Throws ADDRESS_REFUSED for what can be seen in the URL. `URL` has already turned every spelling of an IPv4 address
   * (decimal, octal, hexadecimal, shortened, with full-width digits or a dot at the end) into the usual one.
   */
  check(url: URL): void {
    checkUrl(url)
    const { hostname } = url
    const host = hostname.replace(/^\[(.*)\]$/, '$1')
    // node connects to an address without asking `lookup`. What stands in brackets is one, whether it can be read here or not.
    if (addressOf(host) !== undefined || host !== hostname) this.#judge(host, host)
  }

  /**
   * For node's `lookup` option, which is asked whenever a connection is made: what it answers is what is connected to, so that a
   * name can't mean one address while it is looked at and another one later.
   */
  readonly lookup = (host: string, options: LookupOptions, done: Done): void => {
    const all = options.all === true
    this.#resolve(host, { ...options, all: true }, (error, found, family) => {
      if (error !== null) return done(error, all ? [] : '')
      const addresses = Array.isArray(found)
        ? found
        : [{ address: found, family: family ?? (found.includes(':') ? 6 : 4) }]
      try {
        if (addresses.length === 0) throw refused(host, 'a name without an address')
        // All of them, because which one is tried is up to the network.
        for (const { address } of addresses) this.#judge(address, host)
      } catch (refusal) {
        return done(refusal as NodeJS.ErrnoException, all ? [] : '')
      }
      const [first] = addresses as [LookupAddress]
      if (all) done(null, addresses)
      else done(null, first.address, first.family)
    })
  }

  #judge(text: string, host: string): void {
    const why = refusalOf(text)
    if (why === undefined) return
    const name = bareHost(host)
    if (this.#hosts.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix))) return
    const address = addressOf(text)
    if (address !== undefined && this.#ranges.some((range) => contains(range, address))) return
    throw refused(host, why)
  }
}

/** Loaded with the first name that is looked up. */
const bySystem = ((host: string, options: LookupOptions, done: Done) => {
  import('node:dns').then(
    ({ lookup }) => lookup(host, options, done as never),
    (error) => done(error, []),
  )
}) as LookupFunction

function refused(host: string, why: string): DeferqError {
  return new DeferqError(
    'ADDRESS_REFUSED',
    `A request to ${host} is refused: it leads to ${why}. Open it with httpRequest({ allow: […] }) if it is meant.`,
    { details: { host } },
  )
}

function unfit(value: unknown): DeferqError {
  return new DeferqError(
    'INVALID_OPTION',
    `httpRequest(): allow must be a list of addresses, ranges and hosts ('10.1.0.0/16', 'hooks.internal', '*.svc.local'), and has ${JSON.stringify(value) ?? String(value)}.`,
  )
}
