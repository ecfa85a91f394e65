// Gives a test file the URL of a server that the whole test run shares; take a key prefix of your own on it.
import type { ProvidedContext } from 'vitest'
import { inject } from 'vitest'
import { askCounter } from './on-demand.ts'

export type Shared = { url: string; error?: undefined } | { url?: undefined; error: string }

declare module 'vitest' {
  export interface ProvidedContext {
    deferqServers: { redis: Shared; cluster: Shared; sentinel: Shared; postgres: Shared }
    /** Where to ask for those that are started when they are asked for. */
    deferqCounters: { rabbitmq: number }
  }
}

/** Throws when the server could not be started: a test that needs it fails, it is never skipped in silence. */
export function sharedUrl(server: keyof ProvidedContext['deferqServers']): string {
  return urlOf(server, inject('deferqServers')[server])
}

/** The same, of a server that is slow to start and starts when it is first asked for: ask within beforeAll. */
export async function sharedUrlOnDemand(server: keyof ProvidedContext['deferqCounters']): Promise<string> {
  return urlOf(server, await askCounter(inject('deferqCounters')[server]))
}

function urlOf(server: string, { url, error }: Shared): string {
  if (url === undefined) throw new Error(`No shared ${server} server: ${error}`)
  return url
}
