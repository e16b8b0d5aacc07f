import { StoreError } from '../errors.js'
import type { DriverFactory } from './factory.js'

/**
 * Drivers by name, in registration order. `auto` tries them in that order.
 *
 * @example
 * ```ts
 * import { DriverRegistry } from 'layerstack/drivers'
 * import { overlay2 } from 'layerstack/drivers/overlay2'
 * import { vfs } from 'layerstack/drivers/vfs'
 *
 * const registry = new DriverRegistry([overlay2]).register(vfs)
 * console.log([...registry].map(({ name }) => name)) // [ 'overlay2', 'vfs' ]
 * ```
 */
export class DriverRegistry implements Iterable<DriverFactory> {
  readonly #factories = new Map<string, DriverFactory>()

  /**
   * Throws `TypeError` if two drivers have one name.
   * @param factories the first drivers, in order
   */
  constructor(factories: Iterable<DriverFactory> = []) {
    for (const factory of factories) this.register(factory)
  }

  /** Adds a driver at the end. Throws `TypeError` if its name is registered already. */
  register(factory: DriverFactory): this {
    if (this.#factories.has(factory.name)) {
      throw new TypeError(`a driver is already registered as ${factory.name}`)
    }
    this.#factories.set(factory.name, factory)
    return this
  }

  /** Returns the driver of this name. Throws `DRIVER_UNKNOWN` if none has it. */
  get(name: string): DriverFactory {
    const factory = this.#factories.get(name)
    if (factory !== undefined) return factory
    throw new StoreError('DRIVER_UNKNOWN', `unknown storage driver: ${JSON.stringify(name)}`, {
      hint: `known drivers: ${[...this.#factories.keys()].join(', ') || 'none'}`,
    })
  }

  /** Iterates over the drivers in registration order. */
  [Symbol.iterator](): Iterator<DriverFactory> {
    return this.#factories.values()
  }
}
