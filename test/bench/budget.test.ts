/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import { Budget } from '../../bench/budget.js'

describe('Budget', () => {
  it('divides time by weight, and passes unused time on to the following workloads', () => {
    const budget = new Budget(100, [1, 1, 3])
    expect(budget.next()).toBe(20)
    budget.spend(4)
    expect(budget.next()).toBe(24)
    budget.spend(24)
    expect(budget.next()).toBe(72)
  })

  it('takes an overrun from the following workloads, down to no time at all', () => {
    const budget = new Budget(100, [1, 1, 1])
    budget.next()
    budget.spend(60)
    expect(budget.next()).toBe(20)
    budget.spend(60)
    expect(budget.next()).toBe(0)
    expect(budget.next()).toBe(0)
  })
})
