// Drafts and wants with what a test does not care about filled in.
import { randomBytes } from 'node:crypto'
import type { Draft, Policy, Want } from '../../src/contract/engine.ts'

export const policy: Policy = {
  maxAttempts: 3,
  resultTtlMs: 60_000,
  staleTtlMs: 0,
  failureTtlMs: 0,
  retentionMs: 60_000,
}

export const draft = (more: Partial<Draft> = {}): Draft => ({
  id: randomBytes(44).toString('hex'),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  policy,
  delayMs: 0,
  ...more,
})

/** Another run of the same key. */
export const again = ({ id }: Draft, more: Partial<Draft> = {}): Draft =>
  draft({ id: id.slice(0, 64) + randomBytes(12).toString('hex'), ...more })

export const want = (more: Partial<Want> = {}): Want => ({
  names: ['job'],
  limit: 1,
  leaseMs: 30_000,
  ...more,
})
