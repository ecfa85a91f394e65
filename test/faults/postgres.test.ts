// Processes that die, freeze and stop, with PostgreSQL as the store they share.
import { postgres } from '../facade/places.ts'
import { faults } from './faults.ts'

faults(postgres)
