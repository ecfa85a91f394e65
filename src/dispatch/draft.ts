// From a dispatch (name, params, options) to the draft that an engine admits.

import { DeferqError } from '../base/errors.ts'
import { durationMs, momentMs } from '../base/time.ts'
import { traceIdHere } from '../base/trace.ts'
import type { Draft, FollowUp, Policy, Selector } from '../contract/engine.ts'
import { VALUE } from '../contract/engine.ts'
import { checkName, checkOptions, isOwn, SHARED_OPTIONS } from '../tasks/check-options.ts'
import { contentionOf, groupingOf, keyInGroup } from '../tasks/duplicates.ts'
import type { DispatchOptions, Link } from '../tasks/options.ts'
import { HTTP_REQUEST, isNamed, isOn, isWebhook } from '../tasks/options.ts'
import type { AnyTask, SharedOptions } from '../tasks/task.ts'
import { validate } from '../tasks/validate.ts'
import { encode } from '../values/encode.ts'
import type { Read } from '../values/fingerprint.ts'
import { fingerprintOf, followUpKey, idOf, keyOf, newRun } from '../values/fingerprint.ts'
import { HotKeys } from '../values/key-cache.ts'
import type { Limits } from '../values/limits.ts'
import type { Base } from './draft-base.ts'
import { contend, DEFAULT_POLICY, policyOf, stripped } from './draft-base.ts'
import { extraOf, lacksRules, loadRules } from './run-extras.ts'

const OPTIONS_OF_A_DISPATCH: ReadonlySet<string> = new Set([
  ...SHARED_OPTIONS,
  'runAt',
  'refresh',
  'idempotencyKey',
  'scope',
  'traceId',
  'callback',
  'rules',
  'meta',
  'tx',
  'signal',
])

const NOTHING: DispatchOptions = {}

export class Drafter {
  readonly #tasks: ReadonlyMap<string, AnyTask> | undefined
  readonly #defaults: SharedOptions
  readonly #limits: Partial<Limits> | undefined
  readonly #bases = new Map<string, Base>()

  /** Without `tasks` any name may be dispatched. */
  constructor(
    tasks: ReadonlyMap<string, AnyTask> | undefined,
    defaults: SharedOptions,
    limits?: Partial<Limits>,
  ) {
    this.#tasks = tasks
    this.#defaults = defaults
    this.#limits = limits
  }

  /** At once, unless the task's schema validates asynchronously, or a part must be loaded first: rules, or callbacks by URL. */
  draft(
    name: string,
    params: unknown,
    options: DispatchOptions | undefined,
    watch: boolean,
  ): Draft | Promise<Draft> {
    if (options?.callback !== undefined && [options.callback].flat().some(isWebhook)) {
      return import('../requests/webhook.ts').then(({ withWebhooks }) =>
        this.draft(name, params, withWebhooks(options, `dispatch('${name}')`), watch),
      )
    }
    if (options && lacksRules(options))
      return loadRules().then(() => this.draft(name, params, options, watch))
    const base = this.#base(name)
    if (options !== undefined) checkOptions(options, `dispatch('${name}')`, OPTIONS_OF_A_DISPATCH)
    const schema = base.task?.schema
    if (schema === undefined) return this.#draft(name, params, params, base, options, watch)
    const checked = validate(schema, params, `dispatch('${name}')`)
    return checked instanceof Promise
      ? checked.then((value) => this.#draft(name, params, value, base, options, watch))
      : this.#draft(name, params, checked, base, options, watch)
  }

  /** The draft of a plain dispatch was answered with a result: its like may come again and again. */
  answered({ id, name, params }: Draft): void {
    this.#base(name).hot?.add(params, keyOf(id))
  }

  /** What stands under the key of these params, for `invalidate(name, params)`. */
  async selector(
    name: string,
    params: unknown,
    options: Pick<DispatchOptions, 'scope' | 'idempotencyKey'> = {},
  ): Promise<Selector> {
    const { task, groupOf } = this.#base(name)
    const value =
      task?.schema === undefined ? params : await validate(task.schema, params, `the params of '${name}'`)
    const { key } = this.#fingerprint(name, value, task, options)
    return { keys: [groupOf === undefined ? key : keyInGroup(key, name, groupOf(value))] }
  }

  #draft(
    name: string,
    input: unknown,
    value: unknown,
    base: Base,
    options: DispatchOptions | undefined,
    watch: boolean,
  ): Draft {
    const { task } = base
    const hot = options === undefined ? base.hot : undefined
    const { key, text, narrowed, value: read } = this.#fingerprint(name, value, task, options ?? {}, hot)
    const group = base.groupOf?.(value)
    const draft: Draft = {
      id: idOf(group === undefined ? key : keyInGroup(key, name, group), newRun()),
      name,
      queue: base.queue,
      // The worker validates again, and a schema may transform: so it is handed what the caller gave, not its output.
      params: value === input || task?.schema === undefined ? text : encode(input, 'params', this.#limits),
      priority: base.priority,
      policy: base.policy,
      delayMs: base.delayMs,
    }
    if (watch) {
      draft.watch = true
      if (draft.params === text) draft[VALUE] = read
    }
    if (group !== undefined) draft.group = group
    if (narrowed) draft.onMismatch = options?.onMismatch ?? base.onMismatch
    const traceId = options?.traceId ?? traceIdHere()
    const extra = extraOf(options ?? NOTHING, `dispatch('${name}')`, traceId)
    if (extra !== undefined) draft.extra = extra
    contend(draft, options, base)
    if (options !== undefined) this.#apply(options, draft, name, base.policy, traceId)
    // Whoever is called back counts as one who waits for ever.
    if (draft.then !== undefined && draft.attended !== undefined) delete draft.attended
    return draft
  }

  #apply(
    options: DispatchOptions,
    draft: Draft,
    name: string,
    policy: Policy,
    traceId: string | undefined,
  ): void {
    const at = `dispatch('${name}')`
    if (options.queue !== undefined) draft.queue = options.queue
    if (options.priority !== undefined) draft.priority = options.priority
    if (options.delay !== undefined) draft.delayMs = durationMs(options.delay, `${at}: delay`)
    if (options.runAt !== undefined) draft.dueAt = momentMs(options.runAt, `${at}: runAt`)
    if (options.refresh) draft.refresh = true
    draft.policy = policyOf(options, policy)
    if (options.callback !== undefined) {
      const named = [options.callback].flat().filter(isNamed)
      draft.then = this.#chains(keyOf(draft.id), named, name, traceId)
    }
  }

  /**
   * A caller's callbacks as two chains, one for success and one for failure: each link is admitted when the one
   * before it has ended, however that ended, and all are told of the same run.
   */
  #chains(
    parentKey: string,
    callbacks: (string | Link)[],
    name: string,
    traceId: string | undefined,
  ): FollowUp[] {
    const links: Link[] = callbacks.map((callback) =>
      typeof callback === 'string' ? { name: callback } : callback,
    )
    for (const { name: link, on } of links) {
      if (!isOn(on)) {
        throw new DeferqError(
          'INVALID_OPTION',
          `dispatch('${name}'): the callback '${link}' is on '${String(on)}': use 'success', 'failure' or 'both'.`,
        )
      }
    }
    return (['success', 'failure'] as const).flatMap((on) => {
      const matching = links.filter((link) => link.on === 'both' || (link.on ?? 'success') === on)
      const chain = matching.reduceRight<FollowUp | undefined>((next, link) => {
        const first = link === matching[0]
        const draft = this.#callback(parentKey, link, traceId)
        if (next !== undefined) draft.then = [next]
        return first ? { on, draft } : { on: 'both', draft, sameParent: true }
      }, undefined)
      return chain === undefined ? [] : [chain]
    })
  }

  #callback(parentKey: string, { name, params, options = {} }: Link, traceId: string | undefined): Draft {
    const { queue, priority, policy } = this.#base(name)
    const { everyMs: _, ...rest } = policyOf(options, policy)
    const draft: Draft = {
      id: idOf(followUpKey(parentKey, newRun()), newRun()),
      name,
      queue,
      params: encode(params === undefined ? {} : params, 'params', this.#limits),
      priority,
      policy: { ...rest, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0 },
      delayMs: 0,
    }
    const extra = extraOf(options, `the callback '${name}'`, traceId)
    if (extra !== undefined) draft.extra = extra
    return draft
  }

  #fingerprint(
    name: string,
    params: unknown,
    task: AnyTask | undefined,
    options: Pick<DispatchOptions, 'scope' | 'idempotencyKey'>,
    hot?: HotKeys,
  ): Read {
    const { scope, idempotencyKey } = options
    if (task?.options.scope && (scope === undefined || scope === '')) {
      throw new DeferqError(
        'SCOPE_REQUIRED',
        `The task '${name}' deduplicates within a scope: dispatch('${name}', params, { scope: … }) must say which one.`,
      )
    }
    if (scope !== undefined && typeof scope !== 'string' && !Number.isFinite(scope)) {
      throw new DeferqError('INVALID_OPTION', `dispatch('${name}'): scope must be text or a number.`)
    }
    const { key, ignore, version } = task?.options ?? {}
    return fingerprintOf(
      {
        name,
        params,
        key,
        ignore,
        version,
        // As text: a tenant's number then means the same from a command line or a URL.
        scope: scope === undefined ? undefined : String(scope),
        idempotencyKey,
        limits: this.#limits,
      },
      hot,
    )
  }

  #base(name: string): Base {
    const known = this.#bases.get(name)
    if (known !== undefined) return known
    const task = this.#tasks?.get(name)
    if (this.#tasks !== undefined && task === undefined && !isOwn(name)) {
      const names = [...this.#tasks.keys()].map((each) => `'${each}'`).join(', ')
      throw new DeferqError(
        'UNKNOWN_TASK',
        `There is no task '${String(name)}' here. Known: ${names || 'none'}. Add ${name === HTTP_REQUEST ? 'httpRequest() of deferq/requests' : 'it'} to new DeferQ({ tasks: […] }).`,
        { details: { name } },
      )
    }
    checkName(name, 'The name of a task')
    const options: SharedOptions = { ...this.#defaults, ...stripped(task?.options ?? {}) }
    const groupOf = groupingOf(name, task?.options ?? {})
    const base: Base = {
      task,
      options,
      policy: policyOf(options, DEFAULT_POLICY),
      queue: options.queue ?? 'default',
      priority: options.priority ?? 0,
      delayMs: options.delay === undefined ? 0 : durationMs(options.delay, `task('${name}'): delay`),
      onMismatch: options.onMismatch ?? 'join',
      contention: contentionOf(options),
      groupOf,
      hot: groupOf === undefined && isPlain(task) ? new HotKeys() : undefined,
    }
    // Without a list of tasks names may come from anywhere, and are not kept without bound.
    if (this.#bases.size < 10_000) this.#bases.set(name, base)
    return base
  }
}

const isPlain = (task: AnyTask | undefined): boolean => {
  const { key, ignore, scope, version } = task?.options ?? {}
  return task?.schema === undefined && (key ?? ignore ?? scope ?? version) === undefined
}
