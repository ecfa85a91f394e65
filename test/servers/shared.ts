// Gives a test file the URL of a server that the whole test run shares; take a key prefix of your own on it.
import type { ProvidedContext } from 'vitest'
import { inject } from 'vitest'

export type Shared = { url: string; error?: undefined } | { url?: undefined; error: string }

declare module 'vitest' {
  export interface ProvidedContext {
    deferqServers: { redis: Shared; cluster: Shared; sentinel: Shared; postgres: Shared }
  }
}

/** Throws when the server could not be started: a test that needs it fails, it is never skipped in silence. */
export function sharedUrl(server: keyof ProvidedContext['deferqServers']): string {
  const { url, error } = inject('deferqServers')[server]
  if (url === undefined) throw new Error(`No shared ${server} server: ${error}`)
  return url
}
