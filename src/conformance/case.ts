import type { Driver, DriverCapabilities } from '../drivers/driver.js'
import type { Subject } from './subject.js'

/** A promise of the driver contract, tested on a fresh root. */
export interface ConformanceCase {
  /** Reads as a sentence about the driver. */
  readonly name: string
  /** Returns why the case does not apply to this driver, if it does not. @default it applies to every driver */
  readonly unless?: (
    driver: Pick<Driver, 'adopt'> & { capabilities: DriverCapabilities },
  ) => string | undefined
  run(subject: Subject): Promise<void>
}
