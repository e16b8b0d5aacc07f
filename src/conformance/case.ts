import type { Driver, DriverCapabilities } from '../drivers/driver.js'
import type { Subject } from './subject.js'

/** One promise of the contract, tried on a fresh root. */
export interface ConformanceCase {
  /** Reads as a sentence about the driver. */
  readonly name: string
  /** Why it does not apply to this driver. @default it applies to every driver */
  readonly unless?: (
    driver: Pick<Driver, 'adopt'> & { capabilities: DriverCapabilities },
  ) => string | undefined
  run(subject: Subject): Promise<void>
}
