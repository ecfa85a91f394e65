// The arguments and answers of the verb `invalidate`, by key or by name.
import type { Selector } from '../../contract/engine.ts'
import { shortKey } from './ids.ts'

export const invalidateArgs = (keys: readonly string[]): string[] => [
  message({ keys }),
  ...keys.map(shortKey),
]

export const invalidateReply = (reply: unknown): number => (reply as [number])[0]

export const invalidateNameArgs = (name: string, cursor: string, count: number): string[] => [
  message({ name }),
  name,
  cursor,
  String(count),
]

const message = (selector: Selector): string => `i${JSON.stringify(selector)}`
