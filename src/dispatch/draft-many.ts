// Drafts of many dispatches: none of them is sent when one is malformed, and the error says which.

import { DeferqError } from '../base/errors.ts'
import type { Draft } from '../contract/engine.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import { abortedDispatch } from './errors.ts'

interface Item {
  name: string
  params: unknown
  options?: DispatchOptions
}

export function draftMany<Made extends Draft>(
  items: readonly unknown[],
  draft: (name: string, params: unknown, options: DispatchOptions | undefined) => Made | Promise<Made>,
): Promise<Made[]> {
  return Promise.all(
    (items as readonly Item[]).map(async ({ name, params, options }, index) => {
      try {
        if (options?.signal?.aborted) throw abortedDispatch(name, options.signal)
        return await draft(name, params, options)
      } catch (error) {
        if (error instanceof DeferqError) error.message = `dispatchMany()[${index}]: ${error.message}`
        throw error
      }
    }),
  )
}
