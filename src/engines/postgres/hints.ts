// The notifications of the server, as hints: `work`, `ended <ids>`, `cancelled <id>`, `invalidated <selector>`.
import type { Hint, Selector } from '../../contract/engine.ts'

export function hintsOf(message: string): Hint[] {
  const [kind = ''] = message.split(' ', 1)
  const rest = message.slice(kind.length + 1)
  switch (kind) {
    case 'work':
      return [{ kind: 'work' }]
    case 'ended':
      return rest.split(' ').map((id) => ({ kind: 'ended', id }))
    case 'cancelled':
      return [{ kind: 'cancelled', id: rest }]
    case 'invalidated':
      try {
        return [{ kind: 'invalidated', selector: JSON.parse(rest) as Selector }]
      } catch (error) {
        return [{ kind: 'trouble', message: 'A notification can’t be read.', error }]
      }
    default:
      return []
  }
}
