/** Returns the object with some methods replaced. The others work on the object itself, including its private fields. */
export function replaced<T extends object>(
  whole: T,
  methods: { readonly [Name in keyof T]?: T[Name] | undefined },
): T {
  return new Proxy(whole, {
    get(target, name) {
      if (name in methods) return methods[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
