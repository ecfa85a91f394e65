// The same dispatches from another number of callers: a case that differs from 'dispatch' in nothing else.
import { callsPerSecond } from './load.mjs'

export { alone, contenders } from './cases/dispatch.mjs'

export const unit = '/s'
export const engines = ['redis', 'memory', 'sqlite']
export const measureWith =
  (callers) =>
  ({ call }, count) =>
    callsPerSecond(count, callers, call)
