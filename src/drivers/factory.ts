import type { Driver, Engine } from './driver.js'

/**
 * Opens a storage driver for a root. A `DriverRegistry` holds these.
 *
 * @example A driver of your own
 * ```ts
 * import { naiveDiff, type DriverFactory, type ProtoDriver } from 'layerstack/drivers'
 *
 * function factoryOf(openProto: (root: string) => Promise<ProtoDriver>): DriverFactory {
 *   return {
 *     name: 'mine',
 *     open: async ({ root }) => naiveDiff(await openProto(root)),
 *     holdsLayers: async () => false,
 *     supported: async () => ({ engines: [{ engine: 'userspace', works: true }] }),
 *   }
 * }
 * ```
 */
export interface DriverFactory {
  /** The name of the driver, by which callers choose it. */
  readonly name: string
  /** Opens the driver's directory, `<root>/<name>`. Creates it if it is missing, unless `readOnly`. */
  open(options: DriverOpenOptions): Promise<Driver>
  /** Reports whether this driver has been used in this root. */
  holdsLayers(root: string): Promise<boolean>
  /** Reports which engines work on this system now, and why the others do not. Leaves nothing behind. */
  supported(root: string): Promise<DriverSupport>
}

/** How to open a driver. */
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

/** Which engines of a driver work on this system. */
export interface DriverSupport {
  /** One for each engine that the driver may have. */
  readonly engines: readonly EngineSupport[]
}

/** Whether an engine works on this system. */
export interface EngineSupport {
  /** The engine. */
  readonly engine: Engine
  /** Whether it works in this root now. */
  readonly works: boolean
  /** Why it does not work, as a clause without a full stop. */
  readonly reason?: string | undefined
}
