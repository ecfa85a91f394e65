// The caveats of a SQLite engine by its settings.
import type { Settings } from '../../drivers/sqlite-settings.ts'
import { MEMORY } from '../../drivers/sqlite-settings.ts'

export function caveatsOf({ file, synchronous }: Settings): string[] {
  if (file === MEMORY) return ['Everything lies in this engine object: its end loses all tasks and results.']
  const caveats = [
    'All processes that share the file run on one machine, and the file lies on a local disk: SQLite can’t lock a network share.',
  ]
  if (synchronous === 'normal') {
    caveats.push(
      'A crash of any or all processes loses nothing, but a loss of power may take the last moments; ?synchronous=full keeps them.',
    )
  }
  return caveats
}
