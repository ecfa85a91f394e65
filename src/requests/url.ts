// What the URL of a request must look like, whatever a worker allows.
import { DeferqError } from '../base/errors.ts'

export const bareHost = (host: string): string => host.toLowerCase().replace(/\.$/, '')

/** Throws ADDRESS_REFUSED; asked when a request is dispatched, when it is sent, and at each redirect. */
export function checkUrl(url: URL): void {
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new DeferqError('ADDRESS_REFUSED', `Requests go to http: and https: alone, not to ${url.protocol}`)
  if (url.username !== '' || url.password !== '') {
    throw new DeferqError(
      'ADDRESS_REFUSED',
      `The URL of a request to ${url.hostname} holds credentials. Put them into a header, by the name of a key that the worker knows.`,
    )
  }
  if (bareHost(url.hostname) === '')
    throw new DeferqError('ADDRESS_REFUSED', 'The URL of a request names no host.')
}
