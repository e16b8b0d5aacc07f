import type { Driver, Engine } from './driver.js'

/** How a storage driver is made for a root. What a `DriverRegistry` holds. */
export interface DriverFactory {
  readonly name: string
  /** Opens the driver's directory, `<root>/<name>`, and makes it where it is missing, unless `readOnly`. */
  open(options: DriverOpenOptions): Promise<Driver>
  /** Whether this driver has been used in this root. */
  holdsLayers(root: string): Promise<boolean>
  /** What works here and now, and why the rest does not. Leaves nothing behind. */
  supported(root: string): Promise<DriverSupport>
}

export interface DriverOpenOptions {
  /** The data root: absolute path of a directory that is there. */
  readonly root: string
  /** `auto` takes the kernel's where it works. One that does not is `ENGINE_UNSUPPORTED`. */
  readonly engine: Engine | 'auto'
  /** Nothing is written below the root. */
  readonly readOnly: boolean
  /** The driver's own options, not yet checked; see each driver's `options.ts`. */
  readonly driverOptions?: Readonly<Record<string, unknown>> | undefined
}

export interface DriverSupport {
  readonly engines: readonly EngineSupport[]
}

interface EngineSupport {
  readonly engine: Engine
  readonly works: boolean
  /** Why it does not. */
  readonly reason?: string | undefined
}
