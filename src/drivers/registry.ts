import { StoreError } from '../errors.js'
import type { DriverFactory } from './factory.js'

/** Drivers by name, in registration order. `auto` tries them in that order. */
export class DriverRegistry implements Iterable<DriverFactory> {
  readonly #factories = new Map<string, DriverFactory>()

  constructor(factories: Iterable<DriverFactory> = []) {
    for (const factory of factories) this.register(factory)
  }

  register(factory: DriverFactory): this {
    if (this.#factories.has(factory.name)) {
      throw new TypeError(`a driver is already registered as ${factory.name}`)
    }
    this.#factories.set(factory.name, factory)
    return this
  }

  /** Throws `DRIVER_UNKNOWN` if no driver has this name. */
  get(name: string): DriverFactory {
    const factory = this.#factories.get(name)
    if (factory !== undefined) return factory
    throw new StoreError('DRIVER_UNKNOWN', `unknown storage driver: ${JSON.stringify(name)}`, {
      hint: `known drivers: ${[...this.#factories.keys()].join(', ') || 'none'}`,
    })
  }

  [Symbol.iterator](): Iterator<DriverFactory> {
    return this.#factories.values()
  }
}
