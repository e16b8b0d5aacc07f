import { describe, expect, it } from 'vitest'
import { Budget } from '../../bench/budget.js'

describe('a budget', () => {
  it('is shared by weight, and what one leaves over goes to the rest', () => {
    const budget = new Budget(100, [1, 1, 3])
    expect(budget.next()).toBe(20)
    budget.spend(4)
    expect(budget.next()).toBe(24)
    budget.spend(24)
    expect(budget.next()).toBe(72)
  })

  it('leaves the rest less where one took too much, and nothing where all is gone', () => {
    const budget = new Budget(100, [1, 1, 1])
    budget.next()
    budget.spend(60)
    expect(budget.next()).toBe(20)
    budget.spend(60)
    expect(budget.next()).toBe(0)
    expect(budget.next()).toBe(0)
  })
})
