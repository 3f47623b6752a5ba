# Gradient descent on Rosenbrock's valley, in AWK: it stands for a program in any language.
BEGIN {
    x = -1; y = 1; step_x = step_y = 0
    for (epoch = 1; epoch <= epochs; epoch++) {
        for (i = 0; i < 200; i++) {
            slope_x = -2 * (1 - x) - 40 * x * (y - x * x); slope_y = 20 * (y - x * x)
            step_x = momentum * step_x - lr * slope_x; step_y = momentum * step_y - lr * slope_y
            x += step_x; y += step_y
        }
        printf "epoch %d: loss %.8g\n", epoch, (1 - x) ^ 2 + 10 * (y - x * x) ^ 2; fflush()
    }
}
