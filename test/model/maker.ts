// Makes what the commands name: drafts, outcomes and wants, with ids and texts that are the same each time a history is played.
import { createHash } from 'node:crypto'
import type { AttemptOutcome, Draft, FollowUp, Policy, Want } from '../../src/contract/engine.ts'
import type { DraftCommand, LimitsCommand, OutcomeCommand, WantCommand } from './commands.ts'
import { NAMES, nameOfKey, QUEUES, UNIT_MS } from './commands.ts'

export interface Attempt {
  id: string
  token: string
}

const POLICY = { staleTtlMs: 0, failureTtlMs: 0 }

/** All keys lie in one shard, so that one order holds for all. */
export const keyText = (key: number): string => `00000000${key.toString(16).padStart(56, '0')}`

export class Maker {
  #named = 0

  /** A text that no other command has. */
  text(): string {
    return `"${++this.#named}"`
  }

  draft(command: DraftCommand, now: number): Draft {
    const { key, due, onMismatch, onDuplicate, maxDelay, attended, group, every } = command
    const policy: Policy = {
      ...POLICY,
      maxAttempts: command.attempts,
      resultTtlMs: command.fresh * UNIT_MS,
      staleTtlMs: command.stale * UNIT_MS,
      failureTtlMs: command.failure * UNIT_MS,
      retentionMs: command.retention * UNIT_MS,
      ...(every === undefined ? {} : { everyMs: every * UNIT_MS }),
    }
    // A sweep may end both the run that stands and the one behind it: which comes first is up to the store.
    const waitsBehind = onDuplicate?.running === 'rerunAfter'
    const id = keyText(key) + this.#newRun()
    const draft: Draft = {
      id,
      name: nameOfKey(key),
      queue: QUEUES[command.queue] as string,
      params: `{"p":${command.params}}`,
      priority: command.priority,
      delayMs: command.delay * UNIT_MS,
      policy,
      refresh: command.refresh,
      watch: command.watch,
      then: command.follows.map((on) => this.#follow(on, policy)),
      ...(command.params === 1 ? { extra: `extra ${this.#named}` } : {}),
      ...(due === undefined ? {} : { dueAt: now + due * UNIT_MS + UNIT_MS / 2 }),
      ...(onMismatch === undefined ? {} : { onMismatch }),
      ...(onDuplicate === undefined ? {} : { onDuplicate }),
      ...(maxDelay === undefined ? {} : { maxDelayMs: maxDelay * UNIT_MS }),
      ...(attended === undefined || waitsBehind
        ? {}
        : { attended: { ms: attended.units * UNIT_MS, running: attended.running } }),
      ...(nameOfKey(key) === 'mail' && group !== undefined ? { group: `g${group}` } : {}),
    }
    return draft
  }

  /** A follow-up of both ends has a follow-up too, which is told about the first run of the chain. */
  #follow(on: FollowUp['on'], policy: Policy): FollowUp {
    const draft = this.#followUp(policy)
    if (on !== 'both') return { on, draft }
    return {
      on,
      draft: { ...draft, then: [{ on: 'both', draft: this.#followUp(policy), sameParent: true }] },
    }
  }

  #followUp(policy: Policy): Draft {
    const number = ++this.#named
    const key = keyText(1_000 + number)
    const id = key + this.#newRun()
    return { id, name: 'after', queue: 'default', params: '{}', priority: 0, delayMs: 0, policy }
  }

  #newRun(): string {
    // Stores take the random part of an id for random.
    return createHash('sha256')
      .update(`${++this.#named}`)
      .digest('hex')
      .slice(0, 24)
  }

  outcome(command: OutcomeCommand, attempt: Attempt, policy: Policy, now: number): AttemptOutcome {
    const then = command.then ? { then: [this.#followUp(policy)] } : {}
    const text = this.text()
    switch (command.kind) {
      case 'completed':
        return { ...attempt, ...then, kind: 'completed', result: text }
      case 'failed':
      case 'cancelled':
        return { ...attempt, ...then, kind: command.kind, error: text }
      case 'retry':
        return { ...attempt, ...then, kind: 'retry', error: text, delayMs: command.delay * UNIT_MS }
      case 'released': {
        const { due, params } = command
        return {
          ...attempt,
          ...then,
          kind: 'released',
          ...(due === undefined ? {} : { dueAt: now + due * UNIT_MS + UNIT_MS / 2 }),
          ...(params === undefined ? {} : { params: `{"p":${params}}` }),
        }
      }
    }
  }
}

export function wantOf({ limit, queue, lease }: WantCommand, { running, rate }: LimitsCommand): Want {
  const ofGroups = {
    ...(running === undefined ? {} : { running }),
    ...(rate === undefined ? {} : { rate: { max: rate, perMs: UNIT_MS } }),
  }
  return {
    names: NAMES,
    limit,
    leaseMs: lease * UNIT_MS,
    ...(queue === undefined ? {} : { queues: [QUEUES[queue] as string] }),
    ...(running === undefined && rate === undefined ? {} : { limits: { mail: ofGroups } }),
  }
}
