// The seam between the facade and the client over HTTP, which is loaded with the first call.

import { DeferqError, maskUrl } from '../base/errors.ts'
import type {
  CancelAnswer,
  Counts,
  Draft,
  Engine,
  Filter,
  PromoteAnswer,
  Standing,
} from '../contract/engine.ts'
import type { AnyItem } from '../dispatch/api.ts'
import type { Backend, Forgotten, RunOptions, Seen, SeenPage } from '../dispatch/backend.ts'
import { keysOf } from '../signing/signature.ts'
import type { DispatchOptions, WaitOptions } from '../tasks/options.ts'
import type { Dispatched } from '../tasks/task.ts'
import type { Client, ClientOptions } from './client.ts'

/** Refuses a malformed url or secret at once. */
export function openClient(options: ClientOptions): Backend {
  const { url, secret } = options
  if (!URL.canParse(url) || !/^https?:/i.test(url)) {
    throw new DeferqError(
      'INVALID_URL',
      `new DeferQ(): the url '${maskUrl(String(url))}' is none of an HTTP interface. Use one like https://host/deferq.`,
    )
  }
  if (secret !== undefined) keysOf(secret, 'new DeferQ(): secret')
  return new LazyClient(options)
}

class LazyClient implements Backend {
  readonly tasks: Backend['tasks']
  readonly defaults: Backend['defaults']
  readonly limits: Backend['limits']
  readonly logger: Backend['logger']
  readonly #options: ClientOptions
  #client: Promise<Client> | undefined

  constructor(options: ClientOptions) {
    this.tasks = options.tasks
    this.defaults = options.defaults
    this.limits = options.limits
    this.logger = options.logger
    this.#options = options
  }

  /** An interface tells its hints to waits alone. */
  listen(): () => void {
    return () => {}
  }

  async open(): Promise<Engine> {
    return (await this.#load()).open()
  }

  async close(): Promise<void> {
    return (await this.#load()).close()
  }

  async draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft> {
    return (await this.#load()).draft(name, params, options)
  }

  async dispatch(name: string, params: unknown, options?: DispatchOptions): Promise<Dispatched> {
    return (await this.#load()).dispatch(name, params, options)
  }

  async dispatchMany(items: readonly AnyItem[]): Promise<Dispatched[]> {
    return (await this.#load()).dispatchMany(items)
  }

  async run(name: string, params: unknown, options?: RunOptions): Promise<unknown> {
    return (await this.#load()).run(name, params, options)
  }

  async retry(id: string): Promise<Dispatched> {
    return (await this.#load()).retry(id)
  }

  async wait(id: string, options?: WaitOptions): Promise<Standing> {
    return (await this.#load()).wait(id, options)
  }

  async find(id: string): Promise<Seen> {
    return (await this.#load()).find(id)
  }

  async read(ids: readonly string[]): Promise<(Seen | undefined)[]> {
    return (await this.#load()).read(ids)
  }

  async list(filter: Filter, cursor?: string): Promise<SeenPage> {
    return (await this.#load()).list(filter, cursor)
  }

  async count(): Promise<Counts> {
    return (await this.#load()).count()
  }

  async cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]> {
    return (await this.#load()).cancel(ids, reason)
  }

  async promote(ids: readonly string[], priority?: number): Promise<PromoteAnswer[]> {
    return (await this.#load()).promote(ids, priority)
  }

  async invalidate(forgotten: Forgotten): Promise<number> {
    return (await this.#load()).invalidate(forgotten)
  }

  async pause(): Promise<void> {
    return (await this.#load()).pause()
  }

  #load(): Promise<Client> {
    this.#client ??= import('./client.ts').then(({ Client }) => new Client(this.#options))
    return this.#client
  }
}
