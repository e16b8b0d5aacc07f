import type { Driver, Engine } from './driver.js'

/** Opens a storage driver for a root. A `DriverRegistry` holds these. */
export interface DriverFactory {
  readonly name: string
  /** Opens the driver's directory, `<root>/<name>`. Creates it if it is missing, unless `readOnly`. */
  open(options: DriverOpenOptions): Promise<Driver>
  /** Reports whether this driver has been used in this root. */
  holdsLayers(root: string): Promise<boolean>
  /** Reports which engines work on this system now, and why the others do not. Leaves nothing behind. */
  supported(root: string): Promise<DriverSupport>
}

export interface DriverOpenOptions {
  /** The data root: absolute path of an existing directory. */
  readonly root: string
  /** `auto` uses the kernel engine if it works. An engine that does not work is `ENGINE_UNSUPPORTED`. */
  readonly engine: Engine | 'auto'
  /** Nothing is written below the root. */
  readonly readOnly: boolean
  /** The driver's own options, not yet checked; see each driver's `options.ts`. */
  readonly driverOptions?: Readonly<Record<string, unknown>> | undefined
}

export interface DriverSupport {
  readonly engines: readonly EngineSupport[]
}

export interface EngineSupport {
  readonly engine: Engine
  readonly works: boolean
  /** Why it does not work. */
  readonly reason?: string | undefined
}
