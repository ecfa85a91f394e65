// The version of this package.
import { createRequire } from 'node:module'

let version: string | undefined

export function packageVersion(): string {
  // By its own name, because sources and build lie at different depths.
  version ??= (createRequire(import.meta.url)('deferq/package.json') as { version: string }).version
  return version
}
